rule build_labels:
    input:
        read("build_labels"),
    output:
        f"{ROOT}/labels/{{dataset}}/labels.safetensors",
    log:
        f"{ROOT}/logs/build_labels/{{dataset}}.log",
    benchmark:
        f"{ROOT}/benchmarks/build_labels/{{dataset}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        **given("build_labels", "folder", "options", "distribution", "code"),
    script:
        "../scripts/build_labels.py"


rule choose_annotators:
    input:
        read("choose_annotators"),
    output:
        f"{ROOT}/labels/{{dataset}}/labels.{{choice}}.safetensors",
    log:
        f"{ROOT}/logs/choose_annotators/{{dataset}}-{{choice}}.log",
    benchmark:
        f"{ROOT}/benchmarks/choose_annotators/{{dataset}}-{{choice}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        **given("choose_annotators", "choice", "seed", "code"),
    script:
        "../scripts/choose_annotators.py"


rule approximate_distribution:
    input:
        read("approximate_distribution"),
    output:
        f"{ROOT}/labels/{{dataset}}/distribution.{{key}}.safetensors",
    log:
        f"{ROOT}/logs/approximate_distribution/{{dataset}}-{{key}}.log",
    benchmark:
        f"{ROOT}/benchmarks/approximate_distribution/{{dataset}}-{{key}}.jsonl"
    group:
        "prepare"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        **given("approximate_distribution", "settings", "code"),
    script:
        "../scripts/approximate_distribution.py"
