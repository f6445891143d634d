rule generate_miniature:
    output:
        directory(f"{ROOT}/inputs/raw/{{dataset}}"),
    log:
        f"{ROOT}/logs/generate_miniature/{{dataset}}.log",
    benchmark:
        f"{ROOT}/benchmarks/generate_miniature/{{dataset}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=from_study(
            lambda w: {
                "count": STUDY.generated.items[w.dataset],
                "settings": STUDY.generated.size(w.dataset),
                "seed": STUDY.seed,
            }
        ),
        code=lambda w: code(
            "generate_miniature",
            "utopia.inputs.miniature",
            f"utopia.inputs.miniature.{w.dataset}",
        ),
    script:
        "../scripts/generate_miniature.py"


rule list_inputs:
    input:
        files=from_study(manifest_inputs),
        card=card,
    output:
        f"{ROOT}/inputs/{{dataset}}.json",
    log:
        f"{ROOT}/logs/list_inputs/{{dataset}}.log",
    benchmark:
        f"{ROOT}/benchmarks/list_inputs/{{dataset}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(120),
    params:
        folder=from_study(dataset_folder),
        options=from_study(dataset_options),
        code=lambda w: code(
            "list_inputs", "utopia.inputs.manifest", component("datasets", w.dataset)
        ),
    script:
        "../scripts/list_inputs.py"
