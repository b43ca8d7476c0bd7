// What ThreadSanitizer is not to report: it does not see how Debian's libraries, which are not
// instrumented, order what they do among threads. Each race: line names a library or what gRPC's
// headers compile into our programs; none names a service's handler, which run below these.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name is ThreadSanitizer's
extern "C" const char* __tsan_default_suppressions() {
  return
      // Their locks and queues, as seen through intercepted calls.
      "called_from_lib:libgrpc.so\n"
      "called_from_lib:libgrpc++_unsecure.so\n"
      "called_from_lib:libgrpc_unsecure.so\n"
      "called_from_lib:libgpr.so\n"
      // Memory that gRPC's core hands from thread to thread.
      "race:libgrpc.so\n"
      "race:libgrpc_unsecure.so\n"
      "race:libgpr.so\n"
      "race:libupb.so\n"
      "race:libabsl_\n"
      // GLib, libvirt's lower part, locks and counts references by itself.
      "race:libglib-2.0.so\n"
      "deadlock:libglib-2.0.so\n"
      "race:virObjectEventStateDeregisterID\n"
      // A call's hand-over: batches, buffers and completion queues.
      "race:grpc::internal::Call\n"
      "race:grpc::internal::FillMetadataArray\n"
      "race:grpc::internal::InterceptorBatch\n"
      "race:grpc::internal::ServerReaderWriterBody\n"
      "race:grpc::ByteBuffer\n"
      "race:grpc::ClientReader\n"
      "race:grpc::ClientWriter\n"
      "race:grpc::CompletionQueue::\n"
      "race:grpc::GenericDeserialize\n"
      "race:grpc::GenericSerialize\n"
      "race:grpc::ProtoBuffer\n"
      "race:grpc::Server::SyncRequest::~SyncRequest\n"
      "race:grpc::Server::SyncRequestThreadManager\n"
      "race:grpc::ServerContextBase::\n"
      "race:grpc::ServerReaderWriter<\n"
      "race:grpc::ServerWriter<\n"
      "race:grpc::Status::operator=\n"
      "race:::Deserialize(grpc_call\n"
      // clang 14 does not see pthread_mutex_clocklock, by which try_lock_for locks.
      "mutex:std::timed_mutex::unlock\n";
}
