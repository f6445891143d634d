rule build_labels:
    input:
        manifest=f"{ROOT}/inputs/{{dataset}}.json",
        card=card,
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
        folder=from_study(dataset_folder),
        options=from_study(dataset_options),
        distribution=from_study(label_range),
        code=lambda w: code(
            "build_labels", "utopia.labels.build", component("datasets", w.dataset)
        ),
    script:
        "../scripts/build_labels.py"


rule approximate_distribution:
    input:
        labels=f"{ROOT}/labels/{{dataset}}/labels.safetensors",
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
        settings=from_study(
            lambda w: PLAN.distributions()[PLAN.distribution(w.dataset, w.key)]
        ),
        code=code("approximate_distribution", "utopia.distribution.approximate"),
    script:
        "../scripts/approximate_distribution.py"
