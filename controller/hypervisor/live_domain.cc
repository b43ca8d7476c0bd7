#include "controller/hypervisor/live_domain.h"

#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/live_edit.h"

namespace rum {

absl::StatusOr<std::string> XmlOf(virDomainPtr domain, bool live) {
  std::string xml = TakeText(virDomainGetXMLDesc(
      domain, VIR_DOMAIN_XML_SECURE | (live ? 0U : unsigned{VIR_DOMAIN_XML_INACTIVE})));
  if (xml.empty()) return LibvirtError("reading the definition");
  return xml;
}

absl::Status NoteLive(virDomainPtr domain, const std::function<void(Config*)>& edit) {
  const absl::StatusOr<std::string> live = XmlOf(domain, true);
  if (!live.ok()) return live.status();
  const absl::StatusOr<std::string> metadata = MetadataWith(*live, edit);
  if (!metadata.ok() || metadata->empty()) return metadata.status();
  if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, metadata->c_str(), kMetadataPrefix,
                           kMetadataUri, VIR_DOMAIN_AFFECT_LIVE) == 0) {
    return absl::OkStatus();
  }
  return LibvirtError("noting what the running machine has");
}

}  // namespace rum
