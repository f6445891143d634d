rule report_coverage:
    input:
        read("report_coverage"),
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
        **given("report_coverage", "absent", "code"),
    script:
        "../scripts/report_coverage.py"
