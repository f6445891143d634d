rule train_run:
    input:
        unpack(from_study(training_inputs)),
    output:
        predictions=f"{ROOT}/runs/{{run}}/predictions.safetensors",
        summary=f"{ROOT}/runs/{{run}}/training.json",
    log:
        f"{ROOT}/logs/train_run/{{run}}.log",
    benchmark:
        f"{ROOT}/benchmarks/train_run/{{run}}.jsonl"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=720,
    params:
        run=from_study(lambda w: dict(PLAN.runs[w.run].settings)),
        folder=f"{ROOT}/runs/{{run}}",
        code=from_study(training_code),
    script:
        "../scripts/train_run.py"
