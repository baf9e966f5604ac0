/*
 * Android's C library for one purpose: the native library of TensorFlow Lite for Android (2.16.1,
 * x86-64, arm64 and armeabi-v7a) on a Linux with glibc. bionic.py builds it.
 *
 * That library asks for libc.so, libm.so, libdl.so and liblog.so with symbols of version LIBC. Here
 * they are: handed on to glibc where both libraries agree, which in 64 bit holds for all but those
 * spelled out below. Locks are handed on: glibc uses the first 40 bytes of a mutex, 48 of a condition
 * and 56 of a rwlock, which is what bionic gives them, and zero is the initial state of all in both.
 * bionic32.c has what else differs in 32 bit.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AS(ours, name) __asm__(".symver " #ours "," #name "@LIBC")

/* ---- handed on: a jump to what glibc has under the same name */

#if defined(__x86_64__)
#define JUMP(name) "jmp *to_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name) \
    "adrp x16, to_" #name "\n" \
    "ldr x16, [x16, #:lo12:to_" #name "]\n" \
    "br x16\n"
#elif defined(__arm__)
#define JUMP(name) \
    "ldr ip, 1f\n" \
    "0: add ip, pc, ip\n" \
    "ldr pc, [ip]\n" \
    "1: .word to_" #name " - (0b + 8)\n"
#define IN_32_BIT
#endif

#ifdef IN_32_BIT
/* Not Thumb, in which the compiler may have been. */
#define MODE ".arm\n"
#else
#define MODE ""
#endif

#define HAND_ON(name) \
    __attribute__((visibility("hidden"))) void *to_##name; \
    __asm__(".text\n" MODE ".balign 4\n.globl on_" #name "\n.type on_" #name ",%function\n" \
            "on_" #name ":\n" JUMP(name)); \
    AS(on_##name, name);

#define FIND(name) to_##name = found(#name);

#define IN_ALL(X) \
    X(__cxa_atexit) X(__cxa_finalize) X(__memmove_chk) X(__open_2) X(__read_chk) \
    X(__stack_chk_fail) X(__vsnprintf_chk) X(abort) X(bsearch) X(calloc) X(clock_gettime) \
    X(close) X(closelog) X(dl_iterate_phdr) X(dlclose) X(dlerror) X(dlopen) X(dlsym) X(exit) \
    X(flock) X(fopen) X(fread) X(free) X(freelocale) X(fsync) X(getenv) X(getpagesize) \
    X(getuid) X(madvise) X(malloc) X(memalign) X(memchr) X(memcmp) X(memcpy) X(memmove) \
    X(memset) X(mmap) X(mprotect) X(mremap) X(munmap) X(nanosleep) X(newlocale) X(open) \
    X(openlog) X(posix_memalign) X(pthread_create) X(pthread_equal) X(pthread_getspecific) \
    X(pthread_join) X(pthread_key_create) X(pthread_key_delete) X(pthread_once) \
    X(pthread_rwlock_rdlock) X(pthread_rwlock_unlock) X(pthread_rwlock_wrlock) X(pthread_self) \
    X(pthread_setspecific) X(qsort) X(read) X(realloc) X(rename) X(snprintf) X(strcmp) \
    X(strerror) X(strlen) X(strncmp) X(strncpy) X(strnlen) X(strtol) X(strtoll_l) \
    X(strtoull_l) X(syscall) X(syslog) X(time) X(vasprintf) X(vsnprintf) X(write)

#define IN_64_BIT(X) \
    X(atan2) X(atan2f) X(cos) X(cosf) X(erfcf) X(exp) X(expf) X(expm1f) X(fmodf) X(frexp) \
    X(hypot) X(hypotf) X(ldexp) X(log) X(log1p) X(logf) X(nanf) X(pow) X(powf) X(sincos) \
    X(sincosf) X(sinf) X(strtod) X(tanhf) X(pthread_cond_broadcast) X(pthread_cond_destroy) \
    X(pthread_cond_init) X(pthread_cond_signal) X(pthread_cond_wait) X(pthread_mutex_destroy) \
    X(pthread_mutex_lock) X(pthread_mutex_unlock) X(fstat) X(getauxval)

#ifdef IN_32_BIT
#define IN_THIS(X) X(strstr) X(strtoll) X(strtoull)
#else
#define IN_THIS(X) IN_64_BIT(X)
#endif
#define SAME(X) IN_ALL(X) IN_THIS(X)

SAME(HAND_ON)

static void *found(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    if (address == NULL) {
        void *libm = dlopen("libm.so.6", RTLD_NOW);
        address = libm == NULL ? NULL : dlsym(libm, name);
    }
    if (address == NULL) {
        fprintf(stderr, "glibc has no %s\n", name);
        abort();
    }
    return address;
}

#ifdef IN_32_BIT
static void find_in_32_bit(void);
#else
static void find_in_32_bit(void) {}
#endif

__attribute__((constructor)) static void find(void) {
    SAME(FIND)
    find_in_32_bit();
}

/* ---- bionic's own */

int *on_errno(void) { return __errno_location(); }
AS(on_errno, __errno);

size_t on_strlen_chk(const char *text, size_t size) {
    (void)size;
    return strlen(text);
}
AS(on_strlen_chk, __strlen_chk);

#ifdef IN_32_BIT
#include "bionic32.c"
#else
/* On arm64 glibc's own would clear 48 bytes of bionic's 40. TFLite never gives attributes. */
int on_mutex_init(void *mutex, const void *attributes) {
    if (attributes != NULL) return ENOTSUP;
    memset(mutex, 0, 40);
    return 0;
}
AS(on_mutex_init, pthread_mutex_init);
#endif

/* No property is set: TFLite asks for the kind of phone only to work around the faults of some. */
int on_system_property_get(const char *name, char *value) {
    (void)name;
    value[0] = '\0';
    return 0;
}
AS(on_system_property_get, __system_property_get);

void on_set_abort_message(const char *message) { fprintf(stderr, "%s\n", message); }
AS(on_set_abort_message, android_set_abort_message);

int on_log_vprint(int priority, const char *tag, const char *format, va_list values) {
    (void)priority;
    fprintf(stderr, "%s: ", tag);
    vfprintf(stderr, format, values);
    return fputc('\n', stderr) == EOF ? -1 : 1;
}
__asm__(".symver on_log_vprint,__android_log_vprint@@LIBC");

int on_strerror_r(int number, char *text, size_t size) {
    strncpy(text, strerror(number), size);
    return 0;
}
AS(on_strerror_r, strerror_r);

/* bionic counts its names of system limits from elsewhere. */
long on_sysconf(int name) {
    switch (name) {
        case 0x27:
        case 0x28:
            return sysconf(_SC_PAGESIZE);
        case 0x60:
            return sysconf(_SC_NPROCESSORS_CONF);
        case 0x61:
            return sysconf(_SC_NPROCESSORS_ONLN);
        default:
            return -1;
    }
}
AS(on_sysconf, sysconf);

/* ---- standard streams: an array of structures whose addresses alone are known */

#ifdef IN_32_BIT
#define STREAM_SIZE 84
#else
#define STREAM_SIZE 152
#endif
char on_streams[3 * STREAM_SIZE] __attribute__((aligned(16)));
AS(on_streams, __sF);

static FILE *stream(void *given) {
    FILE *ours[] = {stdin, stdout, stderr};
    for (int i = 0; i < 3; i++) {
        if (given == on_streams + i * STREAM_SIZE) return ours[i];
    }
    return given;
}

int on_vfprintf(void *to, const char *format, va_list values) {
    return vfprintf(stream(to), format, values);
}
AS(on_vfprintf, vfprintf);

int on_fprintf(void *to, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int count = vfprintf(stream(to), format, values);
    va_end(values);
    return count;
}
AS(on_fprintf, fprintf);

int on_fputc(int character, void *to) { return fputc(character, stream(to)); }
AS(on_fputc, fputc);

size_t on_fwrite(const void *data, size_t size, size_t count, void *to) {
    return fwrite(data, size, count, stream(to));
}
AS(on_fwrite, fwrite);

int on_fflush(void *to) { return fflush(to == NULL ? NULL : stream(to)); }
AS(on_fflush, fflush);

int on_fileno(void *of) { return fileno(stream(of)); }
AS(on_fileno, fileno);

int on_fclose(void *file) { return fclose(stream(file)); }
AS(on_fclose, fclose);
