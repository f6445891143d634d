for pack, runs in PLAN.packs.items():

    rule:
        name:
            f"evaluate_{pack}"
        input:
            labels=PLAN.labels(runs[0].dataset),
            predictions=[
                PLAN.run_file(run.id, "predictions.safetensors") for run in runs
            ],
        output:
            [PLAN.run_file(run.id, "metrics.csv") for run in runs],
        log:
            f"{ROOT}/logs/evaluate/{pack}.log",
        benchmark:
            f"{ROOT}/benchmarks/evaluate/{pack}.jsonl"
        group:
            "evaluate"
        threads: 1
        resources:
            mem_mb=scaled(1000),
            runtime=scaled(60),
        params:
            runs=[judged_settings(run) for run in runs],
            code=code("evaluate_runs", "utopia.evaluation.protocols"),
        script:
            "../scripts/evaluate_runs.py"


rule evaluate_reference:
    input:
        labels=f"{ROOT}/labels/{{dataset}}/labels.safetensors",
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
        run=from_study(
            lambda w: {
                **PLAN.runs[f"{w.dataset}.reference.{w.reference}"].settings,
                **STUDY.evaluation.model_dump(),
            }
        ),
        code=code("evaluate_reference", "utopia.evaluation.references"),
    script:
        "../scripts/evaluate_reference.py"
