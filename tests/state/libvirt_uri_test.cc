#include "state/libvirt_uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace rum {
namespace {

TEST(LibvirtUri, APlainOneIsTaken) {
  for (const char* uri : {"qemu:///system", "qemu:///session", "test:///default",
                          "test:///tmp/node.xml", "qemu+ssh://host/system",
                          "qemu+ssh://ada@host.example:2222/session", "qemu+tls://host/system",
                          "qemu+tcp://10.0.0.1:16509/system", "qemu+ssh://[2001:db8::1]:22/system",
                          "qemu+ssh://ada@[::1]/system", "qemu+ssh://my_box/system"}) {
    EXPECT_EQ(LibvirtUriProblem(uri), "") << uri;
  }
}

TEST(LibvirtUri, WhatCouldStartAProgramOfTheHostIsRefused) {
  for (const std::string uri : {"qemu+ext:///session?command=./build.sh",
                                "qemu+ext://host/system",
                                "qemu+unix:///system?socket=/tmp/s",
                                "qemu+unix:///system",
                                "qemu+libssh://host/system",
                                "qemu+libssh2://host/system?known_hosts=/x",
                                "qemu+ssh://host/system?command=/tmp/x",
                                "qemu+ssh://host/system?proxy=native&netcat=x",
                                "qemu+ssh://host/system#x",
                                "qemu:///session?",
                                "qemu:///embed?root=/tmp",
                                "test:///default?x=y",
                                "qemu+ssh://-oProxyCommand=x/system",
                                "qemu+ssh://-oProxyCommand@host/system",
                                "qemu+ssh://a@-o/system",
                                "qemu+ssh://host%20x/system",
                                "qemu+ssh://%2doProxy/system",
                                "qemu+ssh://host\n/system",
                                "qemu+ssh://ho st/system",
                                "qemu+ssh://$(x)/system",
                                "qemu+ssh://host:0/system",
                                "qemu+ssh://host:99999/system",
                                "qemu+ssh://host:2x/system",
                                "qemu+ssh://host:/system",
                                "qemu+ssh://a@b@c/system",
                                "qemu+ssh://@host/system",
                                "qemu+ssh:///system",
                                "qemu+ssh://host/embed",
                                "qemu+ssh://host/system/",
                                "qemu+ssh://host",
                                "qemu+ssh://a:b@host/system",
                                "qemu+ssh://[::1/system",
                                "qemu+ssh://[::1%eth0]/system",
                                "QEMU+EXT:///session?command=x",
                                "qemu://host/system",
                                "xen:///system",
                                "lxc:///",
                                "esx://host/?no_verify=1",
                                "qemu:/session",
                                "qemu:session",
                                "://",
                                "/system",
                                " qemu:///session",
                                "qemu:///session ",
                                "test:///%2e",
                                "test:///a\tb",
                                "test:///",
                                "test://host/default"}) {
    const std::string problem = LibvirtUriProblem(uri);
    EXPECT_THAT(problem, testing::HasSubstr("must be qemu:///system")) << uri;
    EXPECT_THAT(problem, testing::HasSubstr("LIBVIRT_DEFAULT_URI")) << uri;
  }
  EXPECT_THAT(LibvirtUriProblem("home"), testing::HasSubstr("an alias"));
  EXPECT_THAT(LibvirtUriProblem("qemu+ext:///session"),
              testing::HasSubstr("reaches programs and sockets of this host"));
}

TEST(LibvirtUri, SaysWhoseLibvirtItIs) {
  for (const char* uri : {"", "qemu:///system", "qemu:///session", "test:///default"}) {
    EXPECT_FALSE(IsRemoteLibvirt(uri)) << uri;
  }
  for (const auto& [uri, text] :
       {std::pair("qemu+ssh://vm/system", "works on the libvirt of vm"),
        std::pair("qemu+ssh://ada@vm:22/session", "works on the libvirt of vm:22, as ada"),
        std::pair("qemu+tcp://[::1]:1/system", "works on the libvirt of [::1]:1")}) {
    EXPECT_TRUE(IsRemoteLibvirt(uri)) << uri;
    EXPECT_EQ(RemoteLibvirtText(uri), text);
  }
}

}  // namespace
}  // namespace rum
