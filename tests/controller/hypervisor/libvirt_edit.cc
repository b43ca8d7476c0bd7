#include "tests/controller/hypervisor/libvirt_edit.h"

#include <gtest/gtest.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "controller/hypervisor/libvirt_handles.h"

namespace rum {

std::string EditInLibvirt(const std::string& uri, const std::string& domain,
                          const std::function<void(std::string* xml)>& edit) {
  virConnectPtr connection = virConnectOpen(uri.c_str());
  EXPECT_NE(connection, nullptr) << virGetLastErrorMessage();
  if (connection == nullptr) return "";
  std::string xml;
  {
    DomainHandle found(virDomainLookupByName(connection, domain.c_str()));
    EXPECT_TRUE(found) << virGetLastErrorMessage();
    const unsigned flags = VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE;
    xml = TakeText(virDomainGetXMLDesc(found.get(), flags));
    edit(&xml);
    DomainHandle edited(virDomainDefineXML(connection, xml.c_str()));
    EXPECT_TRUE(edited) << virGetLastErrorMessage() << "\n" << xml;
    xml = TakeText(virDomainGetXMLDesc(found.get(), flags));
  }
  virConnectClose(connection);
  return xml;
}

void DefineTheirNetwork(const std::string& uri, const std::string& name) {
  virConnectPtr connection = virConnectOpen(uri.c_str());
  ASSERT_NE(connection, nullptr) << virGetLastErrorMessage();
  const std::string xml = "<network><name>" + name + "</name></network>";
  EXPECT_TRUE(NetworkHandle(virNetworkDefineXML(connection, xml.c_str())))
      << virGetLastErrorMessage();
  virConnectClose(connection);
}

void UndefineTheirNetwork(const std::string& uri, const std::string& name) {
  virConnectPtr connection = virConnectOpen(uri.c_str());
  ASSERT_NE(connection, nullptr) << virGetLastErrorMessage();
  {
    const NetworkHandle network(virNetworkLookupByName(connection, name.c_str()));
    if (network != nullptr) EXPECT_EQ(virNetworkUndefine(network.get()), 0);
  }
  virConnectClose(connection);
}

}  // namespace rum
