#include <string.h>

#include "export/internal.h"
#include "op/q8.h"

json_t *qd_integer_ints(const int64_t *values, int n)
{
    json_t *json = json_array();

    for (int i = 0; i < n && json; i++)
        if (json_array_append_new(json, json_integer(values[i])) != 0) {
            json_decref(json);
            return NULL;
        }
    return json;
}

static json_t *fixed(const struct qd_fixed *values, int n, bool shifts)
{
    json_t *json = json_array();

    for (int i = 0; i < n && json; i++)
        if (json_array_append_new(json, json_integer(shifts ? values[i].shift : values[i].m)) != 0) {
            json_decref(json);
            return NULL;
        }
    return json;
}

json_t *qd_integer_multipliers(const struct qd_fixed *values, int n)
{
    return fixed(values, n, false);
}

json_t *qd_integer_shifts(const struct qd_fixed *values, int n)
{
    return fixed(values, n, true);
}

json_t *qd_integer_append(struct qd_buf *bin, const void *data, size_t size, const char *type, json_t *shape)
{
    struct qd_error ignored = {""};
    size_t offset = bin->size;

    if (qd_buf_append(bin, data, size, &ignored) != QD_OK) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:I, s:I, s:s, s:o}", "offset", (json_int_t)offset, "size", (json_int_t)size, "type", type,
                     "shape", shape);
}

static json_t *step_to_json(const struct qd_integer_model *model, const struct qd_integer_step *step,
                            struct qd_buf *bin)
{
    const struct qd_graph *graph = model->graph;
    json_t *inputs = json_array();
    json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", step->node->name, "operator", step->node->op->name,
                             "kind", step->kind->name, "inputs", inputs, "output", graph->values[step->output].name);
    bool done = inputs && json;

    for (int i = 0; i < step->n_inputs && done; i++)
        done = json_array_append_new(inputs, json_string(graph->values[step->inputs[i]].name)) == 0;
    done = done && json_object_set_new(json, "output_type", json_string(step->accumulators ? "s32" : "u8")) == 0 &&
           step->kind->describe(graph, step, json, bin);
    if (done)
        return json;
    json_decref(json);
    return NULL;
}

/* A byte's meaning; real values are nothing that hardware needs. */
static json_t *tensor_to_json(const struct qd_graph *graph, int v, bool accumulators)
{
    const struct qd_value *value = &graph->values[v];
    struct qd_qparams q = qd_q8_of(graph, v);
    json_t *json = json_pack("{s:s, s:o, s:s, s:s}", "name", value->name, "shape",
                             qd_integer_ints(value->shape.dims, value->shape.n_dims), "layout",
                             qd_value_is_picture(value) ? "NHWC" : "row-major", "type", accumulators ? "s32" : "u8");
    bool done = json != NULL;

    if (accumulators || !done)
        return json;
    done = json_object_set_new(json, "scale", json_real((double)q.scale)) == 0 &&
           json_object_set_new(json, "zero_point", json_integer(q.zero_point)) == 0 &&
           json_object_set_new(json, "bits", json_integer(q.bits)) == 0;
    if (value->channel_steps && done) {
        json_t *steps = json_array();

        for (int64_t c = 0; c < value->shape.dims[1]; c++)
            json_array_append_new(steps, json_real((double)value->channel_steps[c]));
        done = json_object_set_new(json, "channel_steps", steps) == 0;
    }
    if (done)
        return json;
    json_decref(json);
    return NULL;
}

static bool lists_to_json(const struct qd_integer_model *model, json_t *json, struct qd_buf *bin)
{
    const struct qd_graph *graph = model->graph;
    json_t *tensors = json_array(), *steps = json_array(), *outputs = json_array(), *skipped = json_array();
    bool done = json_object_set_new(json, "tensors", tensors) == 0;

    done = json_object_set_new(json, "outputs", outputs) == 0 && done;
    done = json_object_set_new(json, "steps", steps) == 0 && done;
    done = json_object_set_new(json, "not_exported", skipped) == 0 && done;
    done = done && json_array_append_new(tensors, tensor_to_json(graph, graph->pixels, false)) == 0;
    for (int i = 0; i < model->n_steps && done; i++)
        done = json_array_append_new(
                   tensors, tensor_to_json(graph, model->steps[i].output, model->steps[i].accumulators)) == 0 &&
               json_array_append_new(steps, step_to_json(model, &model->steps[i], bin)) == 0;
    for (int i = 0; i < model->n_outputs && done; i++)
        done = json_array_append_new(outputs, json_string(graph->values[model->outputs[i]].name)) == 0;
    for (int i = 0; i < model->n_skipped && done; i++)
        done = json_array_append_new(skipped,
                                     json_pack("{s:s, s:s, s:s}", "name", model->skipped[i].node->name, "operator",
                                               model->skipped[i].node->op->name, "why", model->skipped[i].why)) == 0;
    return done;
}

json_t *qd_integer_to_json(const struct qd_integer_model *model, struct qd_buf *bin)
{
    const struct qd_graph *graph = model->graph;
    json_t *json =
        json_pack("{s:s, s:i, s:s, s:i, s:s}", "format", "quantd accelerator", "version", 1, "rounding", "half to even",
                  "multiplier_bits", model->multiplier_bits, "input", graph->values[graph->pixels].name);

    if (json && lists_to_json(model, json, bin))
        return json;
    json_decref(json);
    return NULL;
}
