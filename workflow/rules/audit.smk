rule report_coverage:
    input:
        manifests=[
            PLAN.manifest(name)
            for name, there in PLAN.datasets.items()
            if there.available
        ],
        indexes=[
            path
            for name, there in PLAN.datasets.items()
            if there.available
            for path in PLAN.feature_indexes(name)
        ],
    output:
        f"{ROOT}/audit/coverage.csv",
    log:
        f"{ROOT}/logs/report_coverage/coverage.log",
    benchmark:
        f"{ROOT}/benchmarks/report_coverage/coverage.jsonl"
    group:
        "render"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        absent={
            name: there.reason
            for name, there in PLAN.datasets.items()
            if not there.available
        },
        code=code("report_coverage", "utopia.inputs.coverage"),
    script:
        "../scripts/report_coverage.py"
