rule write_submission:
    input:
        read("write_submission"),
    output:
        csv=f"{ROOT}/runs/{{run}}/submission.csv",
        report=f"{ROOT}/runs/{{run}}/submission.json",
    log:
        f"{ROOT}/logs/write_submission/{{run}}.log",
    benchmark:
        f"{ROOT}/benchmarks/write_submission/{{run}}.jsonl"
    group:
        "evaluate"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        **given("write_submission", "dataset", "folder", "options", "code"),
    script:
        "../scripts/write_submission.py"
