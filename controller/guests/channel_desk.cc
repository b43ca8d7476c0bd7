#include "controller/guests/channel_desk.h"

#include <utility>

namespace rum {

absl::StatusOr<int> ChannelDesk::Want(guests::Channel channel) {
  guests::FromProcess message;
  message.set_wanted(channel);
  std::unique_lock<std::mutex> guard(mutex_);
  Place& place = places_.at(channel);
  if (place.shut) return absl::UnavailableError("the machine is off");
  // The answer to an earlier question may still come: it is as good.
  if (!std::exchange(place.wanted, true)) outlet_.Say(message);
  changed_.wait(guard, [&] { return place.status.has_value() || place.shut; });
  if (!place.status.has_value()) return absl::UnavailableError("the machine is off");
  const absl::Status status = *std::exchange(place.status, std::nullopt);
  if (!status.ok()) return status;
  return place.fd.Release();
}

void ChannelDesk::Opened(const guests::ToProcess::Opened& opened, Fd fd) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Place& place = places_.at(opened.channel());
  place.wanted = false;
  place.status = fd.ok() ? absl::OkStatus()
                         : absl::Status(static_cast<absl::StatusCode>(opened.code()), opened.why());
  if (place.status->ok() && !fd.ok()) place.status = absl::UnavailableError("no channel came");
  place.fd = std::move(fd);
  changed_.notify_all();
}

void ChannelDesk::Shut(guests::Channel channel, bool shut) {
  const std::lock_guard<std::mutex> guard(mutex_);
  places_.at(channel).shut = shut;
  changed_.notify_all();
}

}  // namespace rum
