for batch, runs in PLAN.batches.items():

    rule:
        name:
            f"evaluate_{batch}"
        input:
            **PLAN.job("evaluate", {"batch": batch}).inputs,
        output:
            PLAN.job("evaluate", {"batch": batch}).made(),
        log:
            f"{ROOT}/logs/evaluate/{batch}.log",
        benchmark:
            f"{ROOT}/benchmarks/evaluate/{batch}.jsonl"
        group:
            "evaluate"
        threads: 1
        resources:
            mem_mb=scaled(1000),
            runtime=scaled(60),
        params:
            **PLAN.params("evaluate", {"batch": batch}),
        script:
            "../scripts/evaluate_runs.py"


rule evaluate_reference:
    input:
        read("evaluate_reference"),
    output:
        f"{ROOT}/runs/{{dataset}}.reference.{{reference}}/metrics.csv",
    log:
        f"{ROOT}/logs/evaluate_reference/{{dataset}}-{{reference}}.log",
    benchmark:
        f"{ROOT}/benchmarks/evaluate_reference/{{dataset}}-{{reference}}.jsonl"
    group:
        "evaluate"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(60),
    params:
        **given("evaluate_reference", "run", "code"),
    script:
        "../scripts/evaluate_reference.py"
