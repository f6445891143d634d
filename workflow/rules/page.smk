rule render_page:
    input:
        read("render_page"),
    output:
        f"{ROOT}/report/index.html",
    log:
        f"{ROOT}/logs/render_page/page.log",
    benchmark:
        f"{ROOT}/benchmarks/render_page/page.jsonl"
    group:
        "render"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **given("render_page", "study", "tables", "figures", "code"),
    script:
        "../scripts/render_page.py"
