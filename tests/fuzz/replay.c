/*
 * The main of every fuzz target where libFuzzer is not: runs LLVMFuzzerTestOneInput over the files of the corpus
 * QD_FUZZ_CORPUS (a folder under the source), or over the files named on the command line, and prints TAP. Each input
 * lies in memory of exactly its size, so that AddressSanitizer sees a read past it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int n_tests;

static void replay(const char *path)
{
    struct qd_error err = {""};
    struct qd_buf buf;
    uint8_t *bytes;

    printf("# %s\n", path);
    fflush(stdout); /* a crash is then known by its file */
    n_tests++;
    if (qd_file_read(path, 100u << 20, &buf, &err) != QD_OK) {
        printf("not ok %d - %s\n", n_tests, err.text);
        return;
    }
    bytes = malloc(buf.size ? buf.size : 1);
    if (!bytes)
        abort();
    memcpy(bytes, buf.bytes, buf.size);
    LLVMFuzzerTestOneInput(bytes, buf.size);
    free(bytes);
    qd_buf_done(&buf);
    printf("ok %d - %s\n", n_tests, path);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_folder(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, is_input, alphasort);

    for (int i = 0; i < n; i++) {
        char path[1024];

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        replay(path);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

int main(int argc, char **argv)
{
    const char *src = getenv("QD_SRC");
    char folder[512];

    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (argc < 2) {
        snprintf(folder, sizeof(folder), "%s/%s", src ? src : ".", QD_FUZZ_CORPUS);
        replay_folder(folder);
    }
    if (!n_tests)
        printf("not ok %d - expected files in the corpus, found none\n", ++n_tests);
    printf("1..%d\n", n_tests);
    return 0;
}
