rule extract_features:
    input:
        manifest=f"{ROOT}/inputs/{{dataset}}.json",
        weights=from_study(lambda w: PLAN.weights(w.dataset)),
    output:
        f"{ROOT}/features/{{dataset}}/shard-{{shard}}.json",
    log:
        f"{ROOT}/logs/extract_features/{{dataset}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/extract_features/{{dataset}}-{{shard}}.jsonl"
    threads: 2  # one decodes, one runs the networks
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(240),
        gpu=gpu,
        attempt=this,
    params:
        folder=from_study(dataset_folder),
        videos=from_study(lambda w: list(PLAN.datasets[w.dataset].shards[int(w.shard)])),
        features=from_study(extracted_features),
        store=f"{ROOT}/features/store",
        weights_folder=str(STUDY.data / "weights") if STUDY.data else None,
        seed=STUDY.seed,
        device=STUDY.device,
        code=lambda w: code(
            "extract_features",
            "utopia.features.extract",
            *(
                component("extractors", feature["extractor"])
                for feature in extracted_features(w).values()
            ),
        ),
    script:
        "../scripts/extract_features.py"


rule import_features:
    input:
        manifest=f"{ROOT}/inputs/{{dataset}}.json",
        source=from_study(
            lambda w: str(PLAN.datasets[w.dataset].precomputed[w.feature])
        ),
    output:
        f"{ROOT}/features/{{dataset}}/{{feature}}.json",
    log:
        f"{ROOT}/logs/import_features/{{dataset}}-{{feature}}.log",
    benchmark:
        f"{ROOT}/benchmarks/import_features/{{dataset}}-{{feature}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        folder=from_study(dataset_folder),
        settings=from_study(lambda w: STUDY.features[w.feature].model_dump(mode="json")),
        store=f"{ROOT}/features/store",
        code=code("import_features", "utopia.features.precomputed"),
    script:
        "../scripts/import_features.py"


ruleorder: extract_features > import_features
