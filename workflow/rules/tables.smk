rule render_table:
    input:
        read("render_table"),
    output:
        csv=f"{ROOT}/tables/{{table}}.csv",
        md=f"{ROOT}/tables/{{table}}.md",
        tex=f"{ROOT}/tables/{{table}}.tex",
        html=report(
            f"{ROOT}/tables/{{table}}.html",
            category="Tables",
            caption="../report/caption.rst",
        ),
    log:
        f"{ROOT}/logs/render_table/{{table}}.log",
    benchmark:
        f"{ROOT}/benchmarks/render_table/{{table}}.jsonl"
    group:
        "render"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        **given("render_table", "settings", "runs", "caption", "code"),
    script:
        "../scripts/render_table.py"
