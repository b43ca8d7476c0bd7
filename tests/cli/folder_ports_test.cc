#include "cli/folder_ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace rum {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Texts(const std::vector<ProposedPort>& ports) {
  std::vector<std::string> texts;
  for (const ProposedPort& port : ports) {
    texts.push_back(absl::StrCat(port.host, ":", port.guest, " ", port.from));
  }
  return texts;
}

TEST(FolderPorts, OfComposeThosePublishedInEveryNotation) {
  EXPECT_THAT(Texts(PortsOfCompose("services:\n"
                                   "  web:\n"
                                   "    image: nginx\n"
                                   "    ports:\n"
                                   "      - \"8080:80\"\n"
                                   "      - 127.0.0.1:8443:443/tcp\n"
                                   "      - 3000-3002\n"
                                   "      - 53:53/udp\n"
                                   "      - ${PORT:-9000}:90\n"
                                   "      - ${NOT_SET}:91\n"
                                   "      - target: 5432\n"
                                   "        published: \"15432\"\n"
                                   "      - {target: 514, protocol: udp}\n"
                                   "  \"we\\nb\": {ports: [7000]}\n",
                                   "compose.yaml")),
              ElementsAre("8080:8080 compose.yaml publishes it (web)",
                          "8443:8443 compose.yaml publishes it (web)",
                          "3000-3002:3000 compose.yaml publishes it (web)",
                          "9000:9000 compose.yaml publishes it (web)",
                          "15432:15432 compose.yaml publishes it (web)",
                          "7000:7000 compose.yaml publishes it"));
}

TEST(FolderPorts, PortsOfRootAreProposedWhereEverybodyMayListen) {
  EXPECT_THAT(Texts(PortsOfCompose("services: {w: {ports: ['80:80', '443:443']}}", "c")),
              ElementsAre("8080:80 c publishes it (w)", "8443:443 c publishes it (w)"));
}

TEST(FolderPorts, OfWhatIsNoComposeFileNone) {
  for (const char* text :
       {"", "services", "services: 7", "services: [1]", "services: {a: b}",
        "services: {a: {ports: x}}", "services: {a: {ports: [[1], {x: y}, '']}}", "{", "a: *b",
        "services: {a: {ports: [99999, 0, -1, '8080:80:80:80x']}}", "- [[[[[", "\xff\xfe"}) {
    EXPECT_THAT(PortsOfCompose(text, "c"), IsEmpty()) << text;
  }
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "[";
  EXPECT_THAT(PortsOfCompose(deep, "c"), IsEmpty());
}

TEST(FolderPorts, OfAProcfileThoseThatCommandsName) {
  EXPECT_THAT(
      Texts(PortsOfProcfile("web: bundle exec rails s -p 3000 -b 0.0.0.0\r\n"
                            "api: gunicorn app --bind 0.0.0.0:8000\n"
                            "docs: mkdocs serve --port=8001\n"
                            "dj: python manage.py runserver 8002\n"
                            "env: PORT=8003 node server.js\n"
                            "her: puma -p ${PORT:-8004}\n"
                            "oku: node server.js $PORT\n"
                            "worker: sidekiq -c 5 -r ./x:y\n"
                            "# no: thing -p 1\n"
                            "nothing\n",
                            "Procfile")),
      ElementsAre(
          "3000:3000 Procfile listens on it (web)", "8000:8000 Procfile listens on it (api)",
          "8001:8001 Procfile listens on it (docs)", "8002:8002 Procfile listens on it (dj)",
          "8003:8003 Procfile listens on it (env)", "8004:8004 Procfile listens on it (her)",
          "5000:5000 Procfile listens on it (oku)"));
}

TEST(FolderPorts, OfAFolderEachPortOnceAndOnlyFromFiles) {
  const fs::path folder = fs::path(testing::TempDir()) / "folder_ports";
  fs::remove_all(folder);
  fs::create_directory(folder);
  EXPECT_THAT(PortsOfFolder(folder), IsEmpty());
  mkfifo((folder / "compose.yaml").c_str(), 0600);  // nobody writes to it
  std::ofstream(folder / "docker-compose.yml") << "services: {w: {ports: ['8000-8010:1']}}";
  std::ofstream(folder / "Procfile") << "a: x -p 8005\nb: x -p 9000\n";
  EXPECT_THAT(Texts(PortsOfFolder(folder)),
              ElementsAre("8000-8010:8000 docker-compose.yml publishes it (w)",
                          "9000:9000 Procfile listens on it (b)"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace rum
