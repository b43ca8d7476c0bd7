#ifndef RUM_STATE_LIBVIRT_URI_H_
#define RUM_STATE_LIBVIRT_URI_H_

#include <string>

namespace rum {

// Why a rum.toml may not name this libvirt, for a message after "advanced.libvirt_uri "; empty: it
// may. Files come with projects of others, and a URI can name programs that libvirt starts
// (qemu+ext://…?command=…), so that only plain ones are taken: qemu:///system, qemu:///session,
// test:///NODE, and qemu+ssh, qemu+tls and qemu+tcp to a host.
std::string LibvirtUriProblem(const std::string& uri);

// Whether it is that of another host, or may be: all but qemu:///system, qemu:///session, test:///…
// and none at all.
bool IsRemoteLibvirt(const std::string& uri);
// What that means: "works on the libvirt of vm.example.org, as me".
std::string RemoteLibvirtText(const std::string& uri);

}  // namespace rum

#endif  // RUM_STATE_LIBVIRT_URI_H_
