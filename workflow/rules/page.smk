rule render_page:
    input:
        tables=[f"{ROOT}/tables/{name}.csv" for name in PLAN.tables],
        figures=[f"{ROOT}/figures/{name}.png" for name in PLAN.figures],
        runs=sorted(
            {
                path
                for name in PLAN.tables
                for path in (
                    *PLAN.table_runs(name).values(),
                    *PLAN.table_summaries(name),
                )
            }
        ),
        coverage=f"{ROOT}/audit/coverage.csv",
        template=sorted(
            os.path.relpath(path)
            for path in Path(workflow.basedir).glob("workflow/resources/page/*")
        ),
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
        study=STUDY.study,
        tables=list(PLAN.tables),
        figures=list(PLAN.figures),
        code=code("render_page", "utopia.outputs.page"),
    script:
        "../scripts/render_page.py"
