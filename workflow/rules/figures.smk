rule render_figure:
    input:
        unpack(from_study(lambda w: PLAN.figure_inputs(w.figure))),
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
        settings=from_study(lambda w: PLAN.figure_settings(w.figure)),
        caption=lambda w: caption(w.figure),
        code=code("render_figure", "utopia.outputs.figure"),
    script:
        "../scripts/render_figure.py"
