rule evaluate_run:
    input:
        labels=from_study(lambda w: PLAN.labels(PLAN.runs[w.run].dataset)),
        predictions=f"{ROOT}/runs/{{run}}/predictions.safetensors",
    output:
        f"{ROOT}/runs/{{run}}/metrics.csv",
    log:
        f"{ROOT}/logs/evaluate_run/{{run}}.log",
    benchmark:
        f"{ROOT}/benchmarks/evaluate_run/{{run}}.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        run=from_study(lambda w: dict(PLAN.runs[w.run].settings)),
        code=code("evaluate_run", "utopia.evaluation.protocols"),
    script:
        "../scripts/evaluate_run.py"


rule evaluate_reference:
    input:
        labels=f"{ROOT}/labels/{{dataset}}/labels.safetensors",
    output:
        f"{ROOT}/runs/{{dataset}}.reference.{{reference}}/metrics.csv",
    log:
        f"{ROOT}/logs/evaluate_reference/{{dataset}}-{{reference}}.log",
    benchmark:
        f"{ROOT}/benchmarks/evaluate_reference/{{dataset}}-{{reference}}.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        run=from_study(
            lambda w: dict(PLAN.runs[f"{w.dataset}.reference.{w.reference}"].settings)
        ),
        code=code("evaluate_reference", "utopia.evaluation.references"),
    script:
        "../scripts/evaluate_reference.py"
