#include "controller/hypervisor/seed.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"
#include "controller/hypervisor/domain_xml.h"

namespace rum {
namespace {

constexpr char kMountPoint[] = "/run/rum/seed";

// After cloud-init's user stage, so that a connected agent means that the user is there. However
// often the agent dies: systemd's limit of five starts in 10 s would leave the machine without one.
constexpr char kUnit[] = R"([Unit]
Description=rum guest agent
After=cloud-init.service cloud-init-network.service
StartLimitIntervalSec=0

[Service]
ExecStartPre=-/bin/sh -c '[ -e /var/lib/rum/user-made ] || { sync; mkdir -p /var/lib/rum; : >/var/lib/rum/user-made; sync; }'
ExecStart=/usr/local/lib/rum/rum-agent
Restart=always
RestartSec=1
KillMode=process
Delegate=yes

[Install]
WantedBy=multi-user.target
)";

// Run by cloud-init at every boot. The unit is enabled, so that later boots have the agent even
// where cloud-init is switched off; where there is no systemd, and so no unit, a loop keeps it up.
constexpr char kInstall[] = R"(#!/bin/sh
set -eu
seed=${0%/*}
agent=/usr/local/lib/rum/rum-agent
unit=/etc/systemd/system/rum-agent.service
changed=
put() {  # FROM TO MODE: in one step, so that a power cut leaves the old file or the new one
  cmp -s "$1" "$2" && return 0
  mkdir -p "${2%/*}"
  cp "$1" "$2.new"
  chmod "$3" "$2.new"
  sync
  mv -f "$2.new" "$2"
  changed=yes
}
# cloud-init ticks the making of users off before it begins. When power fails meanwhile, it has to begin again,
# and it does not make the home of a user that is there.
if [ ! -e /var/lib/rum/user-made ]; then
  rm -f /var/lib/cloud/instances/*/sem/config_users_groups
  while IFS=: read -r name password uid gid comment home shell; do
    [ "$uid" -ge 1000 ] && [ "$uid" -lt 60000 ] && [ ! -e "$home" ] || continue
    rm -rf "$home.new"
    if [ -d /etc/skel ]; then cp -a /etc/skel "$home.new"; else mkdir "$home.new"; fi
    chown -R "$uid:$gid" "$home.new"
    mv "$home.new" "$home"
  done </etc/passwd
fi
# Each seed's agent is installed once: a newer one that came since, through the old one, stays.
if [ ! -x "$agent" ] || ! cmp -s "$seed/rum-agent.sum" "$agent.sum"; then
  put "$seed/rum-agent" "$agent" 0755
  put "$seed/rum-agent.sum" "$agent.sum" 0644
fi
[ ! -d /run/systemd/system ] || put "$seed/rum-agent.service" "$unit" 0644
action=${changed:+re}start
# Who logs in on the console is no matter of the agent's, which may be at work by now.
autologin=/etc/systemd/system/serial-getty@ttyS0.service.d/rum-autologin.conf
if [ -f "$seed/rum-autologin.conf" ]; then
  put "$seed/rum-autologin.conf" "$autologin" 0644
else
  rm -f "$autologin"
fi
if [ -d /run/systemd/system ]; then
  mkdir -p /etc/systemd/system/multi-user.target.wants
  ln -sf "$unit" /etc/systemd/system/multi-user.target.wants/rum-agent.service
  [ -z "$changed" ] || systemctl daemon-reload
  systemctl --no-block "$action" rum-agent.service
else
  # One loop a boot (/run is empty then). Like the unit it waits for the user, whom cloud-init makes after this, with
  # a shell that not every such guest has.
  user=$(cat "$seed/rum-user")
  if mkdir /run/rum-agent.loop 2>/dev/null; then
    setsid sh -c '
      home=
      until [ -n "$home" ] && [ -d "$home" ]; do
        sleep 0.2
        home=$(awk -F: -v user="$1" "\$1 == user {print \$6}" /etc/passwd)
      done
      [ -x /bin/bash ] || sed -i "s|^\($1:.*\):/bin/bash\$|\1:/bin/sh|" /etc/passwd
      [ -e /var/lib/rum/user-made ] || { sync; mkdir -p /var/lib/rum; : >/var/lib/rum/user-made; sync; }
      while :; do "$0"; sleep 1; done' "$agent" "$user" </dev/null >/dev/null 2>&1 &
  elif [ "$action" = restart ]; then
    kill $(pidof rum-agent) 2>/dev/null || true
  fi
fi
)";

std::string MetaData(const SeedParts& parts) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  // Without the hostname in it: a new hostname must not be a new instance.
  out << YAML::Key << "instance-id" << YAML::Value << YAML::DoubleQuoted
      << absl::StrCat(parts.identity.id, "-", parts.disk_nonce);
  const std::string& hostname = parts.config.network().hostname();
  out << YAML::Key << "local-hostname" << YAML::Value << YAML::DoubleQuoted
      << (hostname.empty() ? parts.identity.name : hostname);
  out << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

// Every card by its MAC address: names depend on the order of the cards, and a guest by itself asks
// for an address on the first one alone.
std::string NetworkConfig(const SeedParts& parts) {
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "version" << YAML::Value << 2;
  out << YAML::Key << "ethernets" << YAML::Value << YAML::BeginMap;
  int number = 0;
  for (const std::string& card : CardsOf(parts.config)) {
    out << YAML::Key << absl::StrCat("rum", number++) << YAML::Value << YAML::BeginMap;
    out << YAML::Key << "match" << YAML::Value << YAML::BeginMap << YAML::Key << "macaddress"
        << YAML::Value << YAML::DoubleQuoted << CardMac(parts.identity, card) << YAML::EndMap;
    out << YAML::Key << "dhcp4" << YAML::Value << true;
    out << YAML::Key << "optional" << YAML::Value << true;  // boot does not wait for it
    out << YAML::EndMap;
  }
  out << YAML::EndMap << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

std::string UserOf(const Config& config) {
  return config.user().name().empty() ? "rum" : config.user().name();
}

// A drop-in of agetty's unit: agetty(8), --autologin.
std::string Autologin(const Config& config) {
  return absl::StrCat("[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin ", UserOf(config),
                      " --keep-baud 115200,57600,38400,9600 - $TERM\n");
}

void EmitArgv(YAML::Emitter* out, const std::vector<std::string>& argv) {
  *out << YAML::Flow << YAML::BeginSeq;
  for (const std::string& word : argv) *out << YAML::DoubleQuoted << word;
  *out << YAML::EndSeq;
}

void EmitUser(YAML::Emitter* out, const Config& config) {
  *out << YAML::BeginMap;
  *out << YAML::Key << "name" << YAML::Value << YAML::DoubleQuoted << UserOf(config);
  *out << YAML::Key << "shell" << YAML::Value << "/bin/bash";
  *out << YAML::Key << "sudo" << YAML::Value << "ALL=(ALL) NOPASSWD:ALL";
  *out << YAML::Key << "lock_passwd" << YAML::Value << true;
  if (config.ssh().authorized_keys_size() > 0) {
    *out << YAML::Key << "ssh_authorized_keys" << YAML::Value << YAML::BeginSeq;
    for (const std::string& key : config.ssh().authorized_keys()) *out << YAML::DoubleQuoted << key;
    *out << YAML::EndSeq;
  }
  *out << YAML::EndMap;
}

std::string UserData(const SeedParts& parts) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  out << YAML::Key << "preserve_hostname" << YAML::Value << true;  // the agent's business
  out << YAML::Key << "ssh_pwauth" << YAML::Value << false;
  // A card that is added later gets its address as well.
  out << YAML::Key << "updates" << YAML::Value << YAML::BeginMap << YAML::Key << "network"
      << YAML::Value << YAML::BeginMap << YAML::Key << "when" << YAML::Value << YAML::Flow
      << YAML::BeginSeq << "boot-new-instance"
      << "boot" << YAML::EndSeq << YAML::EndMap << YAML::EndMap;
  out << YAML::Key << "users" << YAML::Value << YAML::BeginSeq;
  EmitUser(&out, parts.config);
  out << YAML::EndSeq;
  // Words, not shell: cloud-init quotes them.
  out << YAML::Key << "bootcmd" << YAML::Value << YAML::BeginSeq;
  EmitArgv(&out, {"mkdir", "-p", kMountPoint});
  EmitArgv(&out, {"mount", "-t", "iso9660", "-o", "ro", "LABEL=CIDATA", kMountPoint});
  EmitArgv(&out, {"sh", absl::StrCat(kMountPoint, "/rum-install")});
  EmitArgv(&out, {"umount", kMountPoint});
  out << YAML::EndSeq << YAML::EndMap;
  return absl::StrCat("#cloud-config\n", out.c_str(), "\n");
}

}  // namespace

std::map<std::string, std::string> SeedFiles(const SeedParts& parts) {
  std::map<std::string, std::string> files = {
      {"meta-data", MetaData(parts)},
      {"user-data", UserData(parts)},
      {"rum-install", kInstall},
      {"rum-user", UserOf(parts.config) + "\n"},
      {"rum-agent.service", kUnit},
      {"rum-agent", parts.agent_binary},
      {"rum-agent.sum", Sha256Hex(parts.agent_binary) + "\n"}};
  if (!CardsOf(parts.config).empty()) files["network-config"] = NetworkConfig(parts);
  if (parts.config.advanced().autologin()) files["rum-autologin.conf"] = Autologin(parts.config);
  return files;
}

std::string SeedHash(const std::map<std::string, std::string>& files) {
  std::string sums;
  for (const auto& [name, content] : files)
    absl::StrAppend(&sums, Sha256Hex(content), " ", name, "\n");
  return Sha256Hex(sums).substr(0, 16);
}

}  // namespace rum
