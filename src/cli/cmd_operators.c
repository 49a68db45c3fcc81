#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "onnx/onnx.h"
#include "op/op.h"

static int last_opset(const struct qd_op *op)
{
    return op->max_opset < QD_ONNX_MAX_OPSET ? op->max_opset : QD_ONNX_MAX_OPSET;
}

/* docs/operators.md is what this prints; a test compares them. */
static int print_markdown(void)
{
    const struct qd_op *op;

    printf(
        "# Operators\n\n"
        "What a model may hold, made by `quantd operators` from the table of `src/op/op.c`. Every operator runs in "
        "fp32; "
        "int8 says\nwhich have a form on bytes too, that a plan takes where the scales, shapes and constants allow it: "
        "`quantd inspect DIR` says\nfor each step of a model how it runs, and why where it is fp32. "
        "Operators that are not here are refused by name.\n\n"
        "float16 and double are read as float32, 16-bit and unsigned 32- and 64-bit integers as int32 and int64.\n\n"
        "| operator | opset | fp32 | int8 | limits |\n| --- | --- | --- | --- | --- |\n");
    for (int i = 0; (op = qd_op_at(i)); i++)
        if (!strchr(op->name, '.'))
            printf("| %s%s%s | %d to %d | yes | %s | %s |\n", op->domain ? op->domain : "", op->domain ? "." : "",
                   op->name, op->min_opset, last_opset(op), op->run_q8 ? "yes" : "", op->limits ? op->limits : "");
    return ferror(stdout) ? 1 : 0;
}

static int print_json(void)
{
    json_t *list = json_array();
    const struct qd_op *op;

    for (int i = 0; (op = qd_op_at(i)); i++)
        if (!strchr(op->name, '.'))
            json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:b, s:s}", "domain",
                                                  op->domain ? op->domain : "", "name", op->name, "first_opset",
                                                  op->min_opset, "last_opset", last_opset(op), "int8",
                                                  op->run_q8 != NULL, "limits", op->limits ? op->limits : ""));
    return qd_cli_print_json(json_pack("{s:o}", "operators", list));
}

static int run(int argc, char **argv)
{
    if (argc == 1)
        return print_markdown();
    if (argc == 2 && strcmp(argv[1], "--json") == 0)
        return print_json();
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: quantd operators [--json]\n%s\n", qd_command_operators.summary);
        return 0;
    }
    fprintf(stderr, "quantd operators: expected --json or nothing, found '%s'\n", argv[1]);
    return 2;
}

const struct qd_command qd_command_operators = {"operators", "", "which ONNX operators run, as Markdown", run};
