#include "engine/team.h"

/*
 * Runs that a verdict is made of, and runs that it stands for: twice as long each time that the same way wins again,
 * for a trial of the other way may cost as much as a hundred runs.
 */
#define N_TRIAL 8
#define N_HELD 64
#define MAX_HELD 4096
/* The longest time alone: so soon all cores are used again once they are free. */
#define MAX_ALONE_NS 1000000000

static void change(struct qd_team *team, bool alone)
{
    team->alone = alone;
    team->n_runs = team->n_timed = 0;
    team->sum = 0;
}

static int longer(int hold)
{
    hold = hold ? 2 * hold : N_HELD;
    return hold > MAX_HELD ? MAX_HELD : hold;
}

static double mean(const struct qd_team *team)
{
    return team->n_timed ? team->sum / team->n_timed : 1;
}

static void judge_together(struct qd_team *team, bool contended)
{
    team->n_held -= team->n_runs;
    team->n_held = team->n_held < 0 ? 0 : team->n_held;
    team->together = mean(team);
    /* Uneven shares make barriers wait long on idle cores too; but then every run takes as long as the fastest. */
    if (!team->n_held && contended && team->together >= 1.5) {
        change(team, true);
        return;
    }
    team->alone_mean = 0;
    team->alone_hold = 0;
    change(team, false);
}

/* run_ns: what a run takes here. */
static void judge_alone(struct qd_team *team, int64_t run_ns)
{
    if (team->n_runs == N_TRIAL) {
        if (mean(team) >= team->together) {
            team->n_held = team->hold = longer(team->hold);
            team->alone_hold = 0;
            team->alone_mean = 0;
            change(team, false);
            return;
        }
        team->hold = 0;
        team->alone_hold = longer(team->alone_hold);
    }
    if (team->n_runs > N_TRIAL && (team->n_runs >= team->alone_hold || team->n_runs * run_ns >= MAX_ALONE_NS)) {
        team->alone_mean = mean(team);
        change(team, false);
    }
}

/* A trial that has taken as long as all of it would have taken alone has lost. */
static bool has_lost(const struct qd_team *team)
{
    return team->alone_mean > 0 && team->sum >= N_TRIAL * team->alone_mean;
}

void qd_team_learn(struct qd_team *team, int n_threads, int n_images, int64_t run_ns, bool contended)
{
    int64_t *fastest_ns;

    if ((n_threads == 1) != team->alone || n_images < 1)
        return; /* the caller has its own mind */
    team->n_runs++;
    if (n_images <= QD_TEAM_MAX_IMAGES) {
        fastest_ns = &team->fastest_ns[n_images];
        if (n_threads > 1 && (!*fastest_ns || run_ns < *fastest_ns))
            *fastest_ns = run_ns;
        if (*fastest_ns) {
            team->sum += (double)run_ns / (double)*fastest_ns;
            team->n_timed++;
        }
    }
    if (team->alone)
        judge_alone(team, run_ns);
    else if (team->n_runs == N_TRIAL || has_lost(team))
        judge_together(team, contended);
}
