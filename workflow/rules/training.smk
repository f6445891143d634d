# A rule per batch: runs that differ in treatment only share a job, its start, its data and, on a GPU, its kernels.
for batch, runs in PLAN.batches.items():

    rule:
        name:
            f"train_{batch}"
        input:
            **PLAN.job("train", {"batch": batch}).inputs,
        output:
            **PLAN.job("train", {"batch": batch}).outputs,
        log:
            f"{ROOT}/logs/train/{batch}.log",
        benchmark:
            f"{ROOT}/benchmarks/train/{batch}.jsonl"
        threads: TRAINING_CORES
        resources:
            mem_mb=scaled(training_memory(runs)),
            # A day at most: what is trained stays, so a second attempt goes on from there.
            runtime=scaled(min(1440, 720 * len(runs)), most=1440),
            gpu=gpu,
            attempt=this,
        params:
            **PLAN.params("train", {"batch": batch}),
        script:
            "../scripts/train_runs.py"
