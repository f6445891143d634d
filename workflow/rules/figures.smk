rule render_figure:
    input:
        read("render_figure"),
    output:
        pdf=f"{ROOT}/figures/{{figure}}.pdf",
        png=report(
            f"{ROOT}/figures/{{figure}}.png",
            category="Figures",
            caption="../report/caption.rst",
        ),
        csv=f"{ROOT}/figures/{{figure}}.csv",
    log:
        f"{ROOT}/logs/render_figure/{{figure}}.log",
    benchmark:
        f"{ROOT}/benchmarks/render_figure/{{figure}}.jsonl"
    group:
        "render"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **given("render_figure", "settings", "caption", "code"),
    script:
        "../scripts/render_figure.py"
