rule write_submission:
    input:
        unpack(from_study(lambda w: PLAN.submission_inputs(w.run))),
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
        dataset=from_study(lambda w: PLAN.runs[w.run].dataset),
        folder=from_study(lambda w: str(PLAN.datasets[PLAN.runs[w.run].dataset].folder)),
        options=from_study(
            lambda w: STUDY.dataset(PLAN.runs[w.run].dataset).options.model_dump(
                mode="json"
            )
        ),
        code=from_study(
            lambda w: code(
                "write_submission",
                "utopia.outputs.submission",
                component("datasets", PLAN.runs[w.run].dataset),
            )
        ),
    script:
        "../scripts/write_submission.py"
