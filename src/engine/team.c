#include "engine/team.h"

/*
 * Runs that a verdict is made of, and runs that it stands for: twice as long each time that the same way wins again,
 * for a trial of the other way may cost as much as a hundred runs.
 */
#define N_TRIAL 8
#define N_HELD 64
#define MAX_HELD 4096
/*
 * A trial takes several time slices at least: a thread that has slept for long gets the core at once, and only then
 * has to share it.
 */
#define MIN_TRIAL_NS 8000000
/* One part in so many of the threads' time is spent at barriers where the cores are contended; on idle ones a tenth. */
#define CONTENDED_PART 3
/* The longest time alone: so soon all cores are used again once they are free. */
#define MAX_ALONE_NS 1000000000

static void change(struct qd_team *team, bool alone)
{
    team->alone = alone;
    team->n_runs = team->n_timed = 0;
    team->sum = 0;
    team->spent_ns = team->waited_ns = 0;
    team->alone_won = false;
}

static int longer(int hold)
{
    hold = hold ? 2 * hold : N_HELD;
    return hold > MAX_HELD ? MAX_HELD : hold;
}

static double mean(const struct qd_team *team)
{
    return team->sum / team->n_timed;
}

static void judge_together(struct qd_team *team)
{
    team->n_held -= team->n_runs;
    team->n_held = team->n_held < 0 ? 0 : team->n_held;
    team->together = mean(team);
    if (!team->n_held && team->waited_ns > team->spent_ns / CONTENDED_PART) {
        change(team, true);
        return;
    }
    team->alone_mean = 0;
    team->alone_hold = 0;
    change(team, false);
}

static void judge_alone(struct qd_team *team)
{
    if (!team->alone_won) {
        if (!team->n_timed || mean(team) >= team->together) {
            team->n_held = team->hold = longer(team->hold);
            team->alone_hold = 0;
            team->alone_mean = 0;
            change(team, false);
            return;
        }
        team->alone_won = true;
        team->hold = 0;
        team->alone_hold = longer(team->alone_hold);
    }
    if (team->n_timed >= team->alone_hold || team->spent_ns >= MAX_ALONE_NS) {
        team->alone_mean = mean(team);
        change(team, false);
    }
}

/* A trial that has taken as long as all of it would have taken the other way has lost. */
static bool has_lost(const struct qd_team *team)
{
    double other = team->alone ? team->together : team->alone_mean;

    return other > 0 && team->n_timed < N_TRIAL && team->sum >= N_TRIAL * other;
}

void qd_team_learn(struct qd_team *team, int n_threads, int n_images, int64_t run_ns, int64_t waited_ns)
{
    int64_t *fastest_ns;
    bool is_enough;

    if ((n_threads == 1) != team->alone || n_images < 1)
        return; /* the caller has its own mind */
    team->n_runs++;
    team->spent_ns += run_ns;
    team->waited_ns += waited_ns;
    if (n_images <= QD_TEAM_MAX_IMAGES) {
        fastest_ns = &team->fastest_ns[n_images];
        if (n_threads > 1 && (!*fastest_ns || run_ns < *fastest_ns))
            *fastest_ns = run_ns;
        if (*fastest_ns) {
            team->sum += (double)run_ns / (double)*fastest_ns;
            team->n_timed++;
        }
    }
    is_enough = team->n_timed >= N_TRIAL && team->spent_ns >= MIN_TRIAL_NS;
    /* Sizes of which no run together is known say nothing: not for ever. */
    is_enough |= team->alone && team->spent_ns >= MAX_ALONE_NS;
    if (!team->alone_won && !has_lost(team) && !is_enough)
        return;
    if (team->alone)
        judge_alone(team);
    else
        judge_together(team);
}
