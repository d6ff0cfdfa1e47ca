/* Firmware for QEMU's mps2 boards: answers for golden images, says over semihosting how many bytes were wrong, how much
 * stack it took and how long, and exits with 1 if any were. Without a C library. */
#include "goldens.h" /* of the test: IMAGES, predict(pixels), images[][], expected[] */

extern uint32_t stack_top, stack_limit, bss_start, bss_end;

#define SYSTICK ((volatile uint32_t *)0xE000E010)
#define PAINT 0xA5A5A5A5u

static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *what, uint32_t value)
{
    char digits[12], *at = digits + 11;
    *at = 0;
    *--at = '\n';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    semihosting(4, what); /* SYS_WRITE0 */
    semihosting(4, at);
}

static void leave(uint32_t code)
{
    const uint32_t block[2] = {0x20026, code}; /* ADP_Stopped_ApplicationExit */
    semihosting(0x20, block);                  /* SYS_EXIT_EXTENDED */
}

void crash(void)
{
    say("crash ", 1);
    leave(2);
}

void reset(void)
{
    uint32_t wrong = 0, *mark, ticks;
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (mark = &bss_start; mark < &bss_end; mark++)
        *mark = 0;
    for (mark = &stack_limit; mark < here; mark++)
        *mark = PAINT;
    SYSTICK[1] = 0xFFFFFF; /* reload, then from there down */
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    wrong += predict(images[0]) != expected[0];
    ticks = 0xFFFFFF - SYSTICK[2];
    for (int i = 1; i < IMAGES; i++)
        wrong += predict(images[i]) != expected[i];
    for (mark = &stack_limit; *mark == PAINT; mark++)
        ;
    say("images ", IMAGES);
    say("wrong ", wrong);
    say("stack ", (uint32_t)((char *)here - (char *)mark));
    say("ticks ", ticks);
    leave(wrong != 0);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)crash, (void *)crash, (void *)crash, (void *)crash, (void *)crash,
};
