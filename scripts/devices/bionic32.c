/*
 * What differs in 32 bit, for bionic.c: floating point goes through integer registers, a mutex and a
 * condition have 4 bytes, and the compiler's helpers are bionic's to give.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* ---- softfp: arguments and results of the mathematical functions in integer registers */

#define SOFT __attribute__((pcs("aapcs")))
#define OF(type, name) \
    static type (*to_##name)(type); \
    SOFT type on_##name(type x) { return to_##name(x); } \
    AS(on_##name, name);
#define OF_TWO(type, name) \
    static type (*to_##name)(type, type); \
    SOFT type on_##name(type x, type y) { return to_##name(x, y); } \
    AS(on_##name, name);
#define OTHER(result, name, arguments, values) \
    static result (*to_##name) arguments; \
    SOFT result on_##name arguments { return to_##name values; } \
    AS(on_##name, name);

#define FLOATS(X) \
    X(ceilf) X(cosf) X(erfcf) X(expf) X(expm1f) X(floorf) X(logf) X(rintf) X(roundf) X(sinf) X(tanhf)
#define DOUBLES(X) X(cos) X(exp) X(floor) X(log) X(log1p) X(round)
#define TWO_FLOATS(X) X(atan2f) X(fmaxf) X(fminf) X(fmodf) X(hypotf) X(powf)
#define TWO_DOUBLES(X) X(atan2) X(hypot) X(pow)
#define OTHERS(X) X(lrintf) X(nanf) X(frexp) X(ldexp) X(strtod) X(sincos) X(sincosf)

#define FLOAT(name) OF(float, name)
#define DOUBLE(name) OF(double, name)
#define TWO_FLOAT(name) OF_TWO(float, name)
#define TWO_DOUBLE(name) OF_TWO(double, name)
FLOATS(FLOAT)
DOUBLES(DOUBLE)
TWO_FLOATS(TWO_FLOAT)
TWO_DOUBLES(TWO_DOUBLE)
OTHER(long, lrintf, (float x), (x))
OTHER(float, nanf, (const char *kind), (kind))
OTHER(double, frexp, (double x, int *exponent), (x, exponent))
OTHER(double, ldexp, (double x, int exponent), (x, exponent))
OTHER(double, strtod, (const char *text, char **end), (text, end))
OTHER(void, sincos, (double x, double *sine, double *cosine), (x, sine, cosine))
OTHER(void, sincosf, (float x, float *sine, float *cosine), (x, sine, cosine))

/* ---- locks: bionic's 4 bytes hold the address of glibc's, made at the first use */

static void *lock_of(_Atomic(void *) *place, size_t size) {
    void *lock = atomic_load(place);
    if (lock != NULL && (size_t)lock < 0x10000) {
        fprintf(stderr, "a lock of another kind than the usual one\n");
        abort();
    }
    if (lock == NULL) {
        void *fresh = calloc(1, size);
        if (fresh == NULL) abort();
        if (atomic_compare_exchange_strong(place, &lock, fresh)) return fresh;
        free(fresh);
    }
    return lock;
}

static int unlock_of(_Atomic(void *) *place) {
    free(atomic_exchange(place, NULL));
    return 0;
}

#define MUTEX(place) lock_of(place, sizeof(pthread_mutex_t))
#define CONDITION(place) lock_of(place, sizeof(pthread_cond_t))
typedef _Atomic(void *) place;
static int (*to_mutex_lock)(void *), (*to_mutex_unlock)(void *);
static int (*to_cond_signal)(void *), (*to_cond_broadcast)(void *);
static int (*to_cond_wait)(void *, void *);

int on_mutex_init(place *mutex, const void *attributes) {
    if (attributes != NULL) return ENOTSUP;
    atomic_store(mutex, NULL);
    return 0;
}
AS(on_mutex_init, pthread_mutex_init);
int on_mutex_lock(place *mutex) { return to_mutex_lock(MUTEX(mutex)); }
AS(on_mutex_lock, pthread_mutex_lock);
int on_mutex_unlock(place *mutex) { return to_mutex_unlock(MUTEX(mutex)); }
AS(on_mutex_unlock, pthread_mutex_unlock);
int on_mutex_destroy(place *mutex) { return unlock_of(mutex); }
AS(on_mutex_destroy, pthread_mutex_destroy);
int on_cond_init(place *condition, const void *attributes) {
    if (attributes != NULL) return ENOTSUP;
    atomic_store(condition, NULL);
    return 0;
}
AS(on_cond_init, pthread_cond_init);
int on_cond_signal(place *condition) { return to_cond_signal(CONDITION(condition)); }
AS(on_cond_signal, pthread_cond_signal);
int on_cond_broadcast(place *condition) { return to_cond_broadcast(CONDITION(condition)); }
AS(on_cond_broadcast, pthread_cond_broadcast);
int on_cond_wait(place *condition, place *mutex) {
    return to_cond_wait(CONDITION(condition), MUTEX(mutex));
}
AS(on_cond_wait, pthread_cond_wait);
int on_cond_destroy(place *condition) { return unlock_of(condition); }
AS(on_cond_destroy, pthread_cond_destroy);

/* ---- the rest */

int on_fstat(int file, struct stat64 *status) { return fstat64(file, status); }
AS(on_fstat, fstat);

void *__gnu_Unwind_Find_exidx(void *address, int *count);
void *on_find_exidx(void *address, int *count) { return __gnu_Unwind_Find_exidx(address, count); }
AS(on_find_exidx, dl_unwind_find_exidx);

void on_assert(const char *file, int line, const char *function, const char *words) {
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, function, words);
    abort();
}
AS(on_assert, __assert2);

unsigned long on_stack_guard = 0x9e3779b9;
AS(on_stack_guard, __stack_chk_guard);

/* In assembler: of a call of memcpy the compiler makes one of __aeabi_memcpy, which is this. */
#define HELPER(name, first, to) \
    __asm__(".text\n" MODE ".balign 4\n.globl on" #name "\n.type on" #name ",%function\n" \
            "on" #name ":\n" first JUMP(to) \
            ".symver on" #name "," #name "@@LIBC");
#define EACH_SIZE(name, first, to) \
    HELPER(name, first, to) HELPER(name##4, first, to) HELPER(name##8, first, to)

EACH_SIZE(__aeabi_memcpy, "", memcpy)
EACH_SIZE(__aeabi_memmove, "", memmove)
/* (to, size, value) where memset takes (to, value, size). */
EACH_SIZE(__aeabi_memset, "mov ip, r1\nmov r1, r2\nmov r2, ip\n", memset)
EACH_SIZE(__aeabi_memclr, "mov r2, r1\nmov r1, #0\n", memset)

static void find_in_32_bit(void) {
    FLOATS(FIND) DOUBLES(FIND) TWO_FLOATS(FIND) TWO_DOUBLES(FIND) OTHERS(FIND)
    to_mutex_lock = found("pthread_mutex_lock");
    to_mutex_unlock = found("pthread_mutex_unlock");
    to_cond_signal = found("pthread_cond_signal");
    to_cond_broadcast = found("pthread_cond_broadcast");
    to_cond_wait = found("pthread_cond_wait");
}
