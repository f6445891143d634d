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
        **given("generate_miniature", "settings", "code"),
    script:
        "../scripts/generate_miniature.py"


rule list_inputs:
    input:
        read("list_inputs"),
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
        **given("list_inputs", "folder", "options", "media", "code"),
    script:
        "../scripts/list_inputs.py"
