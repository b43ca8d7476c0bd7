// Whatever a client puts into a request, of any call: it is answered, the controller goes on, and
// the machine of another request is as it was.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>

#include <random>
#include <string>
#include <vector>

#include "tests/controller/service/service_world.h"

namespace rum {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;

const std::vector<std::string>& Texts() {
  static const auto* const texts = new std::vector<std::string>{
      "",         "/",          "../../x.toml",         "/dev/zero",         std::string("a\0b", 3),
      "\xff\xfe", "/proc/self", std::string(5000, 'x'), "/nowhere/rum.toml", "-m"};
  return *texts;
}

void SetText(const FieldDescriptor& field, const std::string& text, Message* message) {
  const auto& reflection = *message->GetReflection();
  field.is_repeated() ? reflection.AddString(message, &field, text)
                      : reflection.SetString(message, &field, text);
}

// The nth value that is put there; false: there is no such value.
bool SetNth(const FieldDescriptor& field, size_t nth, Message* message) {
  constexpr int64_t kNumbers[] = {-1, 0, 1, 1 << 20, INT64_MAX, INT64_MIN};
  const auto& reflection = *message->GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (nth < Texts().size()) SetText(field, Texts()[nth], message);
      return nth < Texts().size();
    case FieldDescriptor::CPPTYPE_BOOL:
      if (nth == 0 && !field.is_repeated()) reflection.SetBool(message, &field, true);
      return nth == 0;
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Message* const inner = field.is_repeated() ? reflection.AddMessage(message, &field)
                                                 : reflection.MutableMessage(message, &field);
      bool any = nth == 0;
      for (int i = 0; i < inner->GetDescriptor()->field_count(); ++i) {
        const FieldDescriptor& below = *inner->GetDescriptor()->field(i);
        if (below.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
          any = SetNth(below, nth, inner) || any;
      }
      return any;
    }
    case FieldDescriptor::CPPTYPE_INT64:
      if (nth < std::size(kNumbers) && !field.is_repeated())
        reflection.SetInt64(message, &field, kNumbers[nth]);
      return nth < std::size(kNumbers);
    case FieldDescriptor::CPPTYPE_UINT32:
      if (nth < std::size(kNumbers) && !field.is_repeated())
        reflection.SetUInt32(message, &field, static_cast<uint32_t>(kNumbers[nth]));
      return nth < std::size(kNumbers);
    default:
      return false;
  }
}

class AnyRequest : public ServiceTest {
 protected:
  AnyRequest() {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = std::make_unique<grpc::GenericStub>(
        grpc::CreateCustomChannel("unix:" + socket_, grpc::InsecureChannelCredentials(), own));
  }

  // Sends it as the one message of the call, hears two of the answer's and hangs up.
  grpc::Status Call(const MethodDescriptor& method, const std::string& bytes) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const std::string name = "/" + method.service()->full_name() + "/" + method.name();
    auto call = stub_->PrepareCall(&context, name, &queue);
    const auto done = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    call->StartCall(nullptr);
    bool going = done();
    const grpc::Slice slice(bytes);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    going = done() && going;
    for (int heard = 0; going && heard < 2; ++heard) {
      grpc::ByteBuffer answer;
      call->Read(&answer, nullptr);
      going = done();
    }
    if (going) context.TryCancel();
    grpc::Status status;
    call->Finish(&status, nullptr);
    (void)done();
    queue.Shutdown();
    while (done()) {
    }
    return status;
  }

  void ExpectServedAndUntouched() {
    grpc::ClientContext context;
    MachineStatus status;
    ASSERT_TRUE(client_->Status(&context, ThisMachine(), &status).ok());
    EXPECT_EQ(status.phase(), MachineStatus::RUNNING);
    world_.ExpectConverged();
    EXPECT_EQ(world_.guest->TimesRun("system 1"), 1);
  }

  static const google::protobuf::ServiceDescriptor& Service() {
    return *control::ApplyRequest::descriptor()->file()->FindServiceByName("Control");
  }

  std::unique_ptr<grpc::GenericStub> stub_;
};

TEST_F(AnyRequest, OfAnyCallWithAnyValueInAnyFieldIsAnswered) {
  ASSERT_TRUE(Apply(UpRequest()).status.ok());
  for (int m = 0; m < Service().method_count(); ++m) {
    const MethodDescriptor& method = *Service().method(m);
    const Message& blank =
        *google::protobuf::MessageFactory::generated_factory()->GetPrototype(method.input_type());
    for (int f = 0; f < method.input_type()->field_count(); ++f) {
      for (size_t nth = 0;; ++nth) {
        const std::unique_ptr<Message> request(blank.New());
        if (!SetNth(*method.input_type()->field(f), nth, request.get())) break;
        (void)Call(method, request->SerializePartialAsString());
      }
    }
    SCOPED_TRACE(method.name());
    ExpectServedAndUntouched();
  }
}

TEST_F(AnyRequest, OfAnyBytesIsAnswered) {
  ASSERT_TRUE(Apply(UpRequest()).status.ok());
  std::mt19937 random(7);
  for (int m = 0; m < Service().method_count(); ++m) {
    for (int round = 0; round < 5; ++round) {
      std::string bytes(random() % 60, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random() % 32);
      (void)Call(*Service().method(m), bytes);
    }
  }
  ExpectServedAndUntouched();
}

}  // namespace
}  // namespace rum
