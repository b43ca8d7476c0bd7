// What ThreadSanitizer is not to report: it does not see how Debian's libraries, which are not
// instrumented, order what they do among threads. Each line names a library; none names our code.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name is ThreadSanitizer's
extern "C" const char* __tsan_default_suppressions() {
  return
      // Their locks, queues and allocations, as seen through intercepted calls.
      "called_from_lib:libgrpc.so\n"
      "called_from_lib:libgrpc++_unsecure.so\n"
      "called_from_lib:libgrpc_unsecure.so\n"
      "called_from_lib:libgpr.so\n"
      "called_from_lib:libvirt.so\n"
      "called_from_lib:libvirt-qemu.so\n";
}
