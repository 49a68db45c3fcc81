#include "cli/report_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/given.h"

#define CELL_SIZE 64
#define NAMED_LAYERS 3

/* Names come from files: what is not printable ASCII becomes '?'; of a long one the end is kept, which tells more. */
static const char *plain_name(const char *name, size_t width, char text[CELL_SIZE])
{
    size_t length = strlen(name), cut = length > width ? length - width + 2 : 0;
    int n = snprintf(text, CELL_SIZE, "%s%.*s", cut ? ".." : "", (int)(width < CELL_SIZE ? width : CELL_SIZE - 1),
                     name + cut);

    for (int i = 0; i < n && text[i]; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            text[i] = '?';
    return text;
}

static void print_fixed(char *text, int digits, double value)
{
    if (isfinite(value))
        snprintf(text, CELL_SIZE, "%.*f", digits, value);
}

static void print_short(char *text, int digits, double value)
{
    if (isfinite(value))
        snprintf(text, CELL_SIZE, "%.*g", digits, value);
}

static void name_text(const struct qd_report_layer *l, char *text)
{
    plain_name(l->step.name, 24, text);
}

static void operator_text(const struct qd_report_layer *l, char *text)
{
    snprintf(text, CELL_SIZE, "%.10s", l->step.node->op_name);
}

static void precision_text(const struct qd_report_layer *l, char *text)
{
    snprintf(text, CELL_SIZE, "%s", qd_step_kind_name(l->step.kind));
}

static void macs_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 2, l->step.macs ? (double)l->step.macs / 1e6 : (double)NAN);
}

static void step_text(const struct qd_report_layer *l, char *text)
{
    if (l->tensor)
        snprintf(text, CELL_SIZE, "%.4g%s", (double)l->tensor->q.scale, l->tensor->channel_steps ? "*" : "");
}

static void zero_text(const struct qd_report_layer *l, char *text)
{
    if (l->tensor)
        snprintf(text, CELL_SIZE, "%d", l->tensor->q.zero_point);
}

static void min_text(const struct qd_report_layer *l, char *text)
{
    print_short(text, 3, l->tensor ? (double)l->tensor->min : (double)NAN);
}

static void max_text(const struct qd_report_layer *l, char *text)
{
    print_short(text, 3, l->tensor ? (double)l->tensor->max : (double)NAN);
}

static void clip_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 3, l->tensor ? 100 * l->tensor->clip_ratio : (double)NAN);
}

static void alone_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 1, l->tensor ? l->tensor->sqnr_db : (double)NAN);
}

static void cumulative_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 1, l->tensor ? l->tensor->cumulative_db : (double)NAN);
}

static void weights_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 1, l->weights ? l->weights->weights_db : (double)NAN);
}

static void sensitivity_text(const struct qd_report_layer *l, char *text)
{
    print_short(text, 2, l->weights ? l->weights->sensitivity : (double)NAN);
}

static void time_text(const struct qd_report_layer *l, char *text)
{
    print_fixed(text, 1, l->us);
}

static const struct {
    const char *title;
    int width; /* negative: left-aligned */
    void (*text)(const struct qd_report_layer *layer, char *text);
} columns[] = {
    {"layer", -24, name_text},     {"operator", -10, operator_text},
    {"runs", -4, precision_text},  {"M MACs", 7, macs_text},
    {"step", 9, step_text},        {"Z", 3, zero_text},
    {"min", 7, min_text},          {"max", 7, max_text},
    {"clip %", 6, clip_text},      {"alone", 5, alone_text},
    {"cumul", 5, cumulative_text}, {"wghts", 5, weights_text},
    {"KL", 8, sensitivity_text},   {"us", 7, time_text},
};

static void print_layers(const struct qd_report *report)
{
    bool has_steps = false;
    int n_conversions = 0;

    for (size_t c = 0; c < QD_ARRAY_SIZE(columns); c++)
        printf("%s%*s", c ? " " : "", columns[c].width, columns[c].title);
    printf("\n");
    for (int i = 0; i < report->n_layers; i++) {
        const struct qd_report_layer *layer = &report->layers[i];

        n_conversions += !layer->step.node;
        for (size_t c = 0; c < QD_ARRAY_SIZE(columns) && layer->step.node; c++) {
            char text[CELL_SIZE] = "";

            columns[c].text(layer, text);
            printf("%s%*s", c ? " " : "", columns[c].width, text);
        }
        if (layer->step.node)
            printf("\n");
        has_steps |= layer->tensor && layer->tensor->channel_steps;
    }
    printf(
        "alone, cumul, wghts: SQNR in dB of rounding the output alone, of the int8 run against fp32, of the weights\n"
        "alone; KL: of the network's output with this layer alone in int8; us: of one picture%s\n",
        has_steps ? "; *: the largest step of channels" : "");
    if (n_conversions)
        printf("besides these, steps that only change a tensor's form: %d\n", n_conversions);
    for (int i = 0; i < report->n_layers; i++) {
        char name[CELL_SIZE];

        if (report->layers[i].step.why_f32)
            printf("in fp32: %s (%.70s)\n", plain_name(report->layers[i].step.name, 36, name),
                   report->layers[i].step.why_f32);
    }
}

static void print_stages(const struct qd_scales *s)
{
    if (!s->n_stages)
        return;
    printf("stages, output SQNR in dB on the two halves of the pictures\n");
    for (int i = 0; i < s->n_stages; i++) {
        const struct qd_stage_report *stage = &s->stages[i];

        printf("  %-16.16s %-6s %6.2f, %6.2f -> %6.2f, %6.2f  %.58s\n", stage->name, stage->kept ? "kept" : "undone",
               stage->before_db[0], stage->before_db[1], stage->after_db[0], stage->after_db[1], stage->text);
    }
}

static void print_worst(const struct qd_report *report)
{
    char name[CELL_SIZE];

    for (int i = 0; i < report->n_by_error && i < NAMED_LAYERS; i++)
        printf("%s%s, %.1f dB",
               i ? "; " : "worst layers: ", plain_name(report->layers[report->by_error[i]].step.name, 22, name),
               report->layers[report->by_error[i]].tensor->cumulative_db);
    printf("%s", report->n_by_error ? "\n" : "");
    for (int i = 0; i < report->n_by_sensitivity && i < NAMED_LAYERS; i++)
        printf("%s%s, KL %.2g",
               i ? "; " : "most sensitive: ", plain_name(report->layers[report->by_sensitivity[i]].step.name, 18, name),
               report->layers[report->by_sensitivity[i]].weights->sensitivity);
    printf("%s", report->n_by_sensitivity ? "\n" : "");
}

static void print_gate(const struct qd_scales *s)
{
    if (!s->gate.n_images) {
        printf("gate: not run, there are no pictures\n");
        return;
    }
    printf("gate on %zu held-out pictures: %s; agreement %.2f %%, output SQNR %.1f dB, KL %.5f\n", s->gate.n_images,
           s->gate_passed ? "passed" : "FAILED", 100 * s->gate.agreement, s->gate.sqnr_db, s->gate.kl);
    if (s->gate_text[0])
        printf("  %s\n", s->gate_text);
}

void qd_print_report(const struct qd_report *report)
{
    const struct qd_scales *s = report->result->scales;

    if (strcmp(s->method, QD_METHOD_GIVEN) == 0)
        printf("%s: scales given by the model\n", report->model);
    else
        printf("%s: %s on %d pictures (%d unreadable), profile %s\n", report->model, s->method, s->n_images,
               s->n_skipped, report->profile);
    print_layers(report);
    print_stages(s);
    print_worst(report);
    print_gate(s);
    printf("calibrated in %.1f s", report->result->seconds);
    if (report->peak_bytes >= 0)
        printf(", peak memory %.0f MiB", (double)report->peak_bytes / (1 << 20));
    printf("\n");
}
