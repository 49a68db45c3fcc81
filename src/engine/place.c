/* Which steps run depth first, and where in memory each value lies: in the slab, or in the threads' slots. */
#include "engine/internal.h"

static int64_t weights_of(const struct qd_graph *graph, const struct qd_node *node)
{
    int64_t count = 0;

    for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] != QD_NO_VALUE && graph->values[node->inputs[i]].data)
            count += qd_shape_count(&graph->values[node->inputs[i]].shape);
    return count;
}

static int64_t activations_of(const struct qd_graph *graph, const struct qd_node *node)
{
    int64_t count = 0;

    for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] != QD_NO_VALUE && !graph->values[node->inputs[i]].data)
            count += qd_shape_count(&graph->values[node->inputs[i]].shape);
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE)
            count += qd_shape_count(&graph->values[node->outputs[i]].shape);
    return count;
}

/*
 * Depth first until a step has more than twice as much of weights, which every image then reads anew, as of
 * activations: between once and twice the activations that stay in cache still make up for it.
 */
static int choose_depth(const struct qd_plan *plan)
{
    int s = 0;

    if (plan->options.max_batch < 2 || plan->options.keep_all || plan->options.in_order)
        return 0;
    for (; s < plan->n_steps; s++) {
        const struct qd_step *step = &plan->steps[s];
        const struct qd_node *node = step->node >= 0 ? &plan->graph->nodes[step->node] : NULL;

        if (step->kind != QD_STEP_Q8 && step->kind != QD_STEP_PAD)
            break;
        if (node && weights_of(plan->graph, node) > 2 * activations_of(plan->graph, node))
            break;
    }
    return s < 2 ? 0 : s;
}

static size_t aligned(size_t size)
{
    return (size + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
}

enum qd_status qd_places_plan(struct qd_plan *plan, struct qd_error *err)
{
    const struct qd_graph *graph = plan->graph;
    struct qd_place **lists[2] = {NULL, NULL};
    int n[2] = {0, 0};
    enum qd_status status;

    plan->depth_steps = choose_depth(plan);
    for (int i = 0; i < 2; i++) {
        status = qd_alloc_for((void **)&lists[i], (size_t)graph->n_values * QD_N_FORMS + 1, sizeof(**lists), "the plan",
                              err);
        if (status != QD_OK)
            goto out;
    }
    for (int form = 0; form < QD_N_FORMS; form++) {
        for (int v = 0; v < graph->n_values; v++) {
            struct qd_place *place = &plan->places[form][v];

            if (!place->used || place->whole)
                continue;
            place->in_slot = place->last_step < plan->depth_steps && !qd_graph_is_input(graph, v);
            place->pitch = place->steps.image;
            place->size = aligned((size_t)place->pitch * (size_t)(place->in_slot ? 1 : plan->options.max_batch) +
                                  QD_KERNEL_SLACK);
            lists[place->in_slot][n[place->in_slot]++] = place;
            if (place->in_slot || place->first_step >= plan->depth_steps)
                continue;
            /* Depth first, one image's last step comes before another's first. */
            place->first_step = 0;
            if (place->last_step < plan->depth_steps)
                place->last_step = plan->depth_steps - 1;
        }
    }
    status = qd_memory_plan(lists[0], n[0], &plan->slab_size, err);
    if (status == QD_OK)
        status = qd_memory_plan(lists[1], n[1], &plan->slot_size, err);
    for (int i = 0; i < n[1]; i++)
        lists[1][i]->pitch = (ptrdiff_t)plan->slot_size;
    for (int v = 0; v < graph->n_values; v++) {
        struct qd_place *place = &plan->places[QD_FORM_Q8][v], *whole = qd_place_whole(place);

        place->offset = whole->offset;
        place->in_slot = whole->in_slot;
        place->pitch = whole->pitch;
    }
out:
    qd_free(lists[0]);
    qd_free(lists[1]);
    return status;
}
