#include "quant/classes.h"

#include "op/op.h"
#include "quant/statistics.h"

#define WORTH 0.5 /* of a side's noise with one scale: above it on both sides one will do */

static int find_class(int *class_of, int v)
{
    while (class_of[v] != v)
        v = class_of[v] = class_of[class_of[v]];
    return v;
}

static void join(int *class_of, int a, int b)
{
    a = find_class(class_of, a);
    b = find_class(class_of, b);
    class_of[a > b ? a : b] = a > b ? b : a;
}

void qd_classes_find(const struct qd_graph *graph, int *class_of)
{
    for (int v = 0; v < graph->n_values; v++)
        class_of[v] = v;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!qd_node_shares_scale(node) || !qd_is_measured(graph, node->outputs[0]))
            continue;
        for (int i = 0; i < node->n_inputs; i++)
            if (node->inputs[i] != QD_NO_VALUE && qd_is_measured(graph, node->inputs[i]))
                join(class_of, node->outputs[0], node->inputs[i]);
        for (int i = 1; i < node->n_outputs; i++)
            if (node->outputs[i] != QD_NO_VALUE && qd_is_measured(graph, node->outputs[i]))
                join(class_of, node->outputs[0], node->outputs[i]);
    }
    for (int v = 0; v < graph->n_values; v++)
        class_of[v] = find_class(class_of, v);
}

int qd_classes_join(int *class_of, int n_values, int a, int b)
{
    int low = class_of[a] < class_of[b] ? class_of[a] : class_of[b];
    int high = class_of[a] < class_of[b] ? class_of[b] : class_of[a];

    for (int v = 0; v < n_values; v++)
        if (class_of[v] == high)
            class_of[v] = low;
    return low;
}

bool qd_value_has_own_scale(const struct qd_graph *graph, int v)
{
    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            if (graph->nodes[n].inputs[i] == v && qd_node_ties_scales(graph, &graph->nodes[n]))
                return false;
    return true;
}

/* Squared error as a part of the signal, summed over the tensors; one that is 0 everywhere has no noise. */
static double noise(const struct qd_distribution *d, struct qd_qparams q)
{
    double sum = 0;

    for (int i = 0; i < d->n_tensors; i++) {
        double energy = qd_bins_energy(d->bins[i], d->n_bins[i]);

        if (energy > 0)
            sum += qd_bins_error(d->bins[i], d->n_bins[i], (double)q.scale, q.zero_point, (1 << q.bits) - 1) / energy;
    }
    return sum;
}

bool qd_cut_pays(const struct qd_cut *cut)
{
    double one = 0, two = noise(&cut->edge, cut->q[0]);
    bool halves = false;

    for (int side = 0; side < 2; side++) {
        double shared = noise(&cut->side[side], cut->one), own = noise(&cut->side[side], cut->q[side]);

        one += shared;
        two += own;
        halves = halves || own < WORTH * shared;
    }
    return halves && two < one;
}
