#include "controller/hypervisor/live_domain.h"

#include "controller/hypervisor/libvirt_handles.h"
#include "controller/hypervisor/live_edit.h"

namespace rum {
namespace {

absl::StatusOr<std::string> SecureXml(virDomainPtr domain, unsigned flags) {
  std::string xml = TakeText(virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE | flags));
  if (xml.empty()) return LibvirtError("reading the definition");
  return xml;
}

}  // namespace

absl::StatusOr<std::string> DefinitionXml(virDomainPtr domain) {
  return SecureXml(domain, VIR_DOMAIN_XML_INACTIVE);
}

absl::StatusOr<std::string> LiveXmlOf(virDomainPtr domain) { return SecureXml(domain, 0); }

absl::Status NoteLive(virDomainPtr domain, const std::function<void(Config*)>& edit) {
  const absl::StatusOr<std::string> live = LiveXmlOf(domain);
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
