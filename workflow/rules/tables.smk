rule render_table:
    input:
        metrics=from_study(lambda w: list(PLAN.table_runs(w.table).values())),
        summaries=from_study(lambda w: PLAN.table_summaries(w.table)),
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
        settings=from_study(lambda w: PLAN.table_settings(w.table)),
        runs=from_study(lambda w: list(PLAN.table_runs(w.table))),
        caption=lambda w: caption(w.table),
        code=code(
            "render_table", "utopia.outputs.render", "utopia.outputs.comparability"
        ),
    script:
        "../scripts/render_table.py"
