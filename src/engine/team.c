#include "engine/team.h"

/*
 * Runs that a verdict is made of, and runs that it stands for: for being together twice as long each time that it wins
 * again.
 */
#define N_TRIAL 8
#define N_HELD 64
#define MAX_HELD 4096

static void change(struct qd_team *team, bool alone)
{
    team->alone = alone;
    team->n_runs = 0;
    team->sum_ns = 0;
}

static void judge_together(struct qd_team *team, bool contended)
{
    int64_t mean_ns = team->sum_ns / N_TRIAL;

    team->n_held -= N_TRIAL;
    /* Uneven shares make barriers wait long on idle cores too; but then every run takes as long as the fastest. */
    if (team->n_held >= 0 || !contended || mean_ns < team->fastest_ns + team->fastest_ns / 2) {
        team->n_held = team->n_held < 0 ? 0 : team->n_held;
        change(team, false);
        return;
    }
    team->n_held = 0;
    team->together_ns = mean_ns;
    change(team, true);
}

static void judge_alone(struct qd_team *team)
{
    if (team->n_runs == N_TRIAL && team->sum_ns / N_TRIAL >= team->together_ns) {
        team->hold = team->hold ? team->hold * 2 : N_HELD;
        team->hold = team->hold > MAX_HELD ? MAX_HELD : team->hold;
        team->n_held = team->hold;
        change(team, false);
    } else if (team->n_runs == N_HELD) {
        team->hold = 0;
        change(team, false);
    }
}

void qd_team_learn(struct qd_team *team, int n_threads, int n_images, int64_t run_ns, bool contended)
{
    int64_t image_ns;

    if ((n_threads == 1) != team->alone || n_images < 1)
        return; /* the caller has its own mind */
    /* Larger batches take less time per image: only runs of one size can be compared. */
    if (n_images != team->n_images) {
        *team = (struct qd_team){.n_images = n_images};
        if (n_threads == 1)
            return;
    }
    image_ns = run_ns / n_images;
    team->sum_ns += image_ns;
    team->n_runs++;
    if (team->alone) {
        judge_alone(team);
        return;
    }
    if (!team->fastest_ns || image_ns < team->fastest_ns)
        team->fastest_ns = image_ns;
    if (team->n_runs == N_TRIAL)
        judge_together(team, contended);
}
