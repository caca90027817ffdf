// The program in the measured containers: it ends at once, or, told to wait,
// stays until it is killed. Small and static, so that its own exec costs little.
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1)
        for (;;)
            pause();
    return 0;
}
