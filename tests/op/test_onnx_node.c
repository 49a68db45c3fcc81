/*
 * ONNX's own node tests (Debian's libonnx-testdata): each model through the loader and the float run, without and with
 * the passes, against the outputs that come with it, at the suite's tolerance. An input whose value a plan has to know
 * (a shape, axes, a clip's bound) is given as a constant where the loader asks for it.
 * A test whose operators quantd lacks is no failure, but each of them has to stand in not_supported[].
 * Usage: test_onnx_node [PREFIX...]: only the tests whose name begins so, with the reason of each that does not run.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/plan.h"
#include "onnx/internal.h"
#include "op/op.h"
#include "pass/pass.h"
#include "util/file.h"

#define FOLDER "/usr/share/libonnx-testdata/data/node"
#define MAX_TENSORS 32
#define MAX_TESTS 4096
#define MAX_NAMES 256

/* What no image CNN has in the part that runs: recurrence, text, signals, training, sequences. */
static const char *const not_supported[] = {
#include "tests/op/onnx_node_not_supported.inc"
};

/* Single tests whose operators are there. */
static const struct {
    const char *name, *why;
} by_design[] = {
#include "tests/op/onnx_node_by_design.inc"
};

enum outcome { PASSED, FAILED, NO_OPERATOR, BY_DESIGN };

struct tensors {
    struct qd_value values[MAX_TENSORS];
    int n;
};

struct test {
    const char *name;
    struct qd_buf model;
    Onnx__ModelProto *proto;
    struct qd_graph *holder; /* of the tensors' elements */
    struct tensors in, out;
    char text[1024];
};

static enum outcome failed(struct test *test, const char *text)
{
    snprintf(test->text, sizeof(test->text), "%s", text);
    return FAILED;
}

/* input_0.pb, input_1.pb ... of a data set, as long as there are any. */
static enum qd_status read_tensors(struct test *test, const char *kind, struct tensors *ret, struct qd_error *err)
{
    for (ret->n = 0; ret->n < MAX_TENSORS; ret->n++) {
        struct qd_error ignored = {""};
        Onnx__TensorProto *proto;
        struct qd_buf buf;
        enum qd_status status;
        char path[4096];

        snprintf(path, sizeof(path), FOLDER "/%s/test_data_set_0/%s_%d.pb", test->name, kind, ret->n);
        if (qd_file_read(path, (size_t)1 << 30, &buf, &ignored) != QD_OK)
            return QD_OK;
        proto = onnx__tensor_proto__unpack(NULL, buf.size, buf.size ? (const void *)buf.bytes : "");
        qd_buf_done(&buf);
        if (!proto)
            return qd_error_set(err, QD_UNSUPPORTED, "%s_%d is no tensor", kind, ret->n);
        status = qd_onnx_tensor(proto, NULL, test->holder, &ret->values[ret->n], err);
        onnx__tensor_proto__free_unpacked(proto, NULL);
        if (status != QD_OK)
            return status;
    }
    return QD_OK;
}

/*
 * quantd reads opset 7 and later. The suite's oldest tests state 1, of operators that are the same since: they are run
 * as of 7.
 */
static enum qd_status raise_opset(struct test *test, struct qd_error *err)
{
    bool raised = false;
    size_t size;

    for (size_t i = 0; i < test->proto->n_opset_import; i++) {
        Onnx__OperatorSetIdProto *set = test->proto->opset_import[i];

        if ((set->domain && set->domain[0]) || set->version >= QD_ONNX_MIN_OPSET)
            continue;
        set->version = QD_ONNX_MIN_OPSET;
        raised = true;
    }
    size = onnx__model_proto__get_packed_size(test->proto);
    if (!raised)
        return QD_OK;
    qd_buf_done(&test->model);
    qd_buf_init(&test->model, size + 1);
    if (qd_buf_reserve(&test->model, size, err) != QD_OK)
        return QD_NO_MEMORY;
    test->model.size = onnx__model_proto__pack(test->proto, test->model.bytes);
    return QD_OK;
}

static int opset_of(const Onnx__ModelProto *model)
{
    for (size_t i = 0; i < model->n_opset_import; i++)
        if (!model->opset_import[i]->domain || !model->opset_import[i]->domain[0])
            return (int)model->opset_import[i]->version;
    return 0;
}

/* The operators of the model that are not in quantd's table at its opset, into text; false where all are. */
static bool lacks_operators(const Onnx__ModelProto *model, char *text, size_t size)
{
    size_t used = 0;
    int opset = opset_of(model);

    text[0] = 0;
    for (size_t i = 0; model->graph && i < model->graph->n_node; i++) {
        const Onnx__NodeProto *node = model->graph->node[i];
        const struct qd_op *op = qd_op_find(node->op_type);

        if (op && op->min_opset <= opset && opset <= op->max_opset)
            continue;
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", node->op_type);
    }
    return used > 0;
}

static double element(const struct qd_value *value, const void *data, int64_t i)
{
    switch (value->dtype) {
    case QD_F32:
        return (double)((const float *)data)[i];
    case QD_S8:
        return ((const int8_t *)data)[i];
    case QD_I32:
        return ((const int32_t *)data)[i];
    case QD_I64:
        return (double)((const int64_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

/* numpy's assert_allclose. */
static bool is_close(double found, double want)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(found) : found == want;
    return fabs(found - want) <= 1e-7 + 1e-3 * fabs(want);
}

/*
 * NonMaxSuppression leaves as many rows as there are boxes, which no plan knows: where its inputs are no constants its
 * output has room for all, and the rest is -1. The rows that there are stay to be compared.
 */
static bool is_padded(const struct qd_graph *graph, const struct qd_value *found, const int64_t *data,
                      const struct qd_value *want)
{
    int64_t n = qd_shape_count(&want->shape), room = qd_shape_count(&found->shape);

    if (found->producer < 0 || strcmp(graph->nodes[found->producer].op->name, "NonMaxSuppression") != 0 || room < n)
        return false;
    for (int64_t i = n; i < room; i++)
        if (data[i] != -1)
            return false;
    return true;
}

static enum outcome compare(struct test *test, const struct qd_graph *graph, const struct qd_frame *frame,
                            const char *run)
{
    for (int i = 0; i < graph->n_outputs && i < test->out.n; i++) {
        const struct qd_value *found = &graph->values[graph->outputs[i]], *want = &test->out.values[i];
        const void *data = qd_frame_output(frame, i, 0);
        char a[QD_SHAPE_TEXT_SIZE], b[QD_SHAPE_TEXT_SIZE];

        if ((!qd_shape_equal(&found->shape, &want->shape) && !is_padded(graph, found, data, want)) ||
            found->dtype != want->dtype) {
            snprintf(test->text, sizeof(test->text), "%s: output %d: expected %s %s, found %s %s", run, i,
                     qd_dtype_name(want->dtype), qd_shape_text(&want->shape, a), qd_dtype_name(found->dtype),
                     qd_shape_text(&found->shape, b));
            return FAILED;
        }
        for (int64_t j = 0; j < qd_shape_count(&want->shape); j++) {
            double x = element(found, data, j), y = element(want, want->data, j);

            if (is_close(x, y))
                continue;
            snprintf(test->text, sizeof(test->text), "%s: output %d, element %lld: expected %.9g, found %.9g", run, i,
                     (long long)j, y, x);
            return FAILED;
        }
    }
    return PASSED;
}

static enum outcome run_graph(struct test *test, struct qd_graph *graph, const char *run)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_F32, .max_batch = 1};
    struct qd_plan *plan = NULL;
    struct qd_frame *frame = NULL;
    struct qd_error err = {""};
    enum outcome outcome;

    if (qd_kernels_named(NULL, &options.kernels, &err) != QD_OK || qd_plan_new(graph, &options, &plan, &err) != QD_OK ||
        qd_frame_new(plan, 1, &frame, &err) != QD_OK)
        return failed(test, err.text);
    for (int i = 0; i < graph->n_inputs; i++) {
        const struct qd_value *value = &graph->values[graph->inputs[i]];
        void *to = qd_frame_input_elements(frame, i, 0);

        for (size_t j = 0; j < test->proto->graph->n_input && j < (size_t)test->in.n && to; j++)
            if (strcmp(test->proto->graph->input[j]->name, value->name) == 0)
                memcpy(to, test->in.values[j].data,
                       (size_t)qd_shape_count(&value->shape) * qd_dtype_size(value->dtype));
    }
    qd_frame_run(frame, 1, 1);
    outcome = compare(test, graph, frame, run);
    qd_frame_free(frame);
    qd_plan_free(plan);
    return outcome;
}

/* How many inputs are constants: none, the integers, all but the first, all. */
enum fixing { FIX_NONE, FIX_INTEGERS, FIX_REST, FIX_ALL, N_FIXINGS };

static enum qd_status load(const struct test *test, enum fixing fixing, struct qd_graph **ret, struct qd_error *err)
{
    struct qd_onnx_fixed fixed[MAX_TENSORS];
    struct qd_onnx_options options = {.any_inputs = true, .fixed = fixed};

    for (size_t i = 0; i < test->proto->graph->n_input && i < (size_t)test->in.n; i++) {
        const struct qd_value *value = &test->in.values[i];

        if (fixing == FIX_ALL || (fixing == FIX_INTEGERS && value->dtype != QD_F32) || (fixing == FIX_REST && i > 0))
            fixed[options.n_fixed++] =
                (struct qd_onnx_fixed){test->proto->graph->input[i]->name, value->dtype, value->shape, value->data};
    }
    return qd_onnx_load(test->model.bytes, test->model.size, &options, ret, err);
}

static enum outcome run_model(struct test *test)
{
    struct qd_graph *graph = NULL;
    struct qd_error err;
    enum qd_status status = QD_UNSUPPORTED;
    enum outcome outcome;

    for (int f = 0; f < N_FIXINGS && status == QD_UNSUPPORTED; f++) {
        err.text[0] = 0;
        status = load(test, (enum fixing)f, &graph, &err);
    }
    if (status != QD_OK)
        return failed(test, err.text);
    outcome = run_graph(test, graph, "as loaded");
    if (outcome == PASSED) {
        if (qd_passes_run(graph, &err) != QD_OK)
            return failed(test, err.text);
        outcome = run_graph(test, graph, "after the passes");
    }
    qd_graph_free(graph);
    return outcome;
}

static enum outcome run_test(struct test *test)
{
    struct qd_error err = {""};
    char path[4096];

    for (size_t i = 0; i < QD_ARRAY_SIZE(by_design); i++) {
        if (by_design[i].name && strcmp(by_design[i].name, test->name) == 0) {
            snprintf(test->text, sizeof(test->text), "%s", by_design[i].why);
            return BY_DESIGN;
        }
    }
    snprintf(path, sizeof(path), FOLDER "/%s/model.onnx", test->name);
    if (qd_file_read(path, (size_t)1 << 30, &test->model, &err) != QD_OK)
        return failed(test, err.text);
    test->proto = onnx__model_proto__unpack(NULL, test->model.size, test->model.bytes);
    test->holder = qd_graph_new();
    if (!test->proto || !test->holder)
        return failed(test, "no model, or no memory");
    if (raise_opset(test, &err) != QD_OK)
        return failed(test, err.text);
    if (lacks_operators(test->proto, test->text, sizeof(test->text)))
        return NO_OPERATOR;
    if (read_tensors(test, "input", &test->in, &err) != QD_OK ||
        read_tensors(test, "output", &test->out, &err) != QD_OK)
        return failed(test, err.text);
    return run_model(test);
}

/* In a process of its own: a crash is one failure. */
static enum outcome run_apart(struct test *test)
{
    int pipes[2], status = 0;
    ssize_t n;
    pid_t child;

    if (pipe(pipes) != 0 || (child = fork()) < 0)
        return failed(test, "no process");
    if (child == 0) {
        enum outcome outcome;

        close(pipes[0]);
        alarm(60);
        outcome = run_test(test);
        if (write(pipes[1], test->text, strlen(test->text) + 1) < 0)
            _exit(FAILED);
        _exit((int)outcome);
    }
    close(pipes[1]);
    n = read(pipes[0], test->text, sizeof(test->text) - 1);
    test->text[n > 0 ? n : 0] = 0;
    close(pipes[0]);
    waitpid(child, &status, 0);
    if (!WIFEXITED(status)) {
        snprintf(test->text, sizeof(test->text), "ended by signal %d", WTERMSIG(status));
        return FAILED;
    }
    return (enum outcome)WEXITSTATUS(status);
}

/* Counts each operator of a list with commas once, in names[]. */
static void count_operators(char *list, char names[MAX_NAMES][64], int counts[MAX_NAMES], int *n_names)
{
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int i = 0;

        while (i < *n_names && strcmp(names[i], name) != 0)
            i++;
        if (i == *n_names && i < MAX_NAMES)
            snprintf(names[(*n_names)++], 64, "%s", name);
        if (i < MAX_NAMES)
            counts[i]++;
    }
}

static bool is_listed(const char *name)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(not_supported); i++)
        if (not_supported[i] && strcmp(not_supported[i], name) == 0)
            return true;
    return false;
}

static bool is_wanted(const char *name, char **prefixes, int n)
{
    for (int i = 0; i < n; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return n == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_tests(char **names, char **prefixes, int n_prefixes)
{
    DIR *dir = opendir(FOLDER);
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir)) && n < MAX_TESTS)
        if (entry->d_name[0] != '.' && is_wanted(entry->d_name, prefixes, n_prefixes))
            names[n++] = strdup(entry->d_name);
    if (dir)
        closedir(dir);
    qsort(names, (size_t)n, sizeof(*names), by_name);
    return n;
}

int main(int argc, char **argv)
{
    static char names[MAX_NAMES][64];
    static char *tests[MAX_TESTS];
    int counts[MAX_NAMES] = {0}, n_names = 0, totals[4] = {0}, number = 0, n_unlisted = 0;
    int n = list_tests(tests, argv + 1, argc - 1);

    if (!n) {
        printf("1..0 # SKIP no " FOLDER ": Debian's libonnx-testdata is not installed\n");
        return 0;
    }
    for (int i = 0; i < n; i++) {
        struct test test = {.name = tests[i]};
        enum outcome outcome = run_apart(&test);

        totals[outcome]++;
        if (argc > 1 && outcome >= NO_OPERATOR)
            printf("# %s: %s\n", tests[i], test.text);
        if (outcome == PASSED)
            printf("ok %d - %s\n", ++number, tests[i]);
        else if (outcome == FAILED)
            printf("not ok %d - %s: %s\n", ++number, tests[i], test.text);
        else if (outcome == NO_OPERATOR)
            count_operators(test.text, names, counts, &n_names);
        fflush(stdout);
        free(tests[i]);
    }
    for (int i = 0; i < n_names; i++) {
        bool listed = is_listed(names[i]);

        n_unlisted += !listed;
        printf("# not supported: %s (%d)%s\n", names[i], counts[i], listed ? "" : ", which the list lacks");
    }
    printf("%s %d - operators without support are those of the list\n", n_unlisted ? "not ok" : "ok", ++number);
    printf("# %d passed, %d failed, %d not supported by operator, %d by design\n", totals[PASSED], totals[FAILED],
           totals[NO_OPERATOR], totals[BY_DESIGN]);
    printf("1..%d\n", number);
    return 0;
}
