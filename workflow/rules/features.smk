rule fine_tune:
    input:
        read("fine_tune"),
    output:
        f"{ROOT}/features/weights/{{feature}}.safetensors",
    log:
        f"{ROOT}/logs/fine_tune/{{feature}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fine_tune/{{feature}}.jsonl"
    threads: 1
    resources:
        mem_mb=scaled(6000),
        # A day at most: epochs that are done stay, so a second attempt continues from there.
        runtime=scaled(720, most=1440),
        gpu=gpu,
        attempt=this,
    params:
        **given(
            "fine_tune",
            "settings",
            "folder",
            "weights_folder",
            "seed",
            "device",
            "code",
        ),
    script:
        "../scripts/fine_tune.py"


rule extract_features:
    input:
        read("extract_features"),
    output:
        f"{ROOT}/features/{{dataset}}/shard-{{shard}}.json",
    log:
        f"{ROOT}/logs/extract_features/{{dataset}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/extract_features/{{dataset}}-{{shard}}.jsonl"
    # Beside a GPU a second core decodes; without one the networks take nearly all the time, so videos take turns.
    threads: lambda wildcards: 1 + gpu(wildcards)
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(240),
        gpu=gpu,
        attempt=this,
    params:
        **given(
            "extract_features",
            "folder",
            "videos",
            "features",
            "store",
            "weights_folder",
            "seed",
            "device",
            "code",
        ),
    script:
        "../scripts/extract_features.py"


rule import_features:
    input:
        read("import_features"),
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
        **given("import_features", "folder", "settings", "store", "code"),
    script:
        "../scripts/import_features.py"
