# A rule per pack: runs that differ in treatment only share a job, its start, its data and, on a GPU, its kernels.
for pack, runs in PLAN.packs.items():

    rule:
        name:
            f"train_{pack}"
        input:
            **shared_inputs(runs),
        output:
            predictions=[
                PLAN.run_file(run.id, "predictions.safetensors") for run in runs
            ],
            summaries=[PLAN.run_file(run.id, "training.json") for run in runs],
        log:
            f"{ROOT}/logs/train/{pack}.log",
        benchmark:
            f"{ROOT}/benchmarks/train/{pack}.jsonl"
        threads: 1
        resources:
            mem_mb=scaled(training_memory(runs)),
            # A day at most: what is trained stays, so a second attempt goes on from there.
            runtime=scaled(min(1440, 720 * len(runs)), most=1440),
            gpu=gpu,
            attempt=this,
        params:
            way=way(runs),
            runs=trained_settings(runs),
            folders=[PLAN.run_file(run.id, "")[:-1] for run in runs],
            code=code(
                "train_runs",
                *sorted({module for run in runs for module in training_modules(run)}),
            ),
        script:
            "../scripts/train_runs.py"
