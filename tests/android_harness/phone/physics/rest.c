/* Lets a simulated phone stand idle: rest ROOT SECONDS, ROOT its files or empty on the phone. */
#include <stdio.h>
#include <stdlib.h>

#include "physics.h"

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: rest ROOT SECONDS\n"), EXIT_FAILURE;
    char sysfs[PATH_MAX];
    snprintf(sysfs, sizeof sysfs, "%s/sys", argv[1]);
    Phone phone = enter_phone(argv[1], sysfs);
    rest(&phone, strtod(argv[2], NULL));
    leave_phone(&phone);
    return EXIT_SUCCESS;
}
