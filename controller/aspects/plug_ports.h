#ifndef RUM_CONTROLLER_ASPECTS_PLUG_PORTS_H_
#define RUM_CONTROLLER_ASPECTS_PLUG_PORTS_H_

#include <string>

#include "controller/aspects/aspect.h"

namespace rum {

// The cards of a configuration, each as the field of the file that it is of, "network.nat" or
// "network.interfaces[lab]", and as CardsOf() of domain_xml.h names it.
std::vector<std::pair<std::string, std::string>> CardItemsOf(const Network& network);

// A shared folder for WayToPlug(): it is its tag that has a port, wherever it is mounted.
std::string TakerOfFolder(const std::string& tag);
// How what `field` names, a card, a drive or a folder that the running machine lacks, comes into
// it: each takes a port, and those that come first, cards before drives before folders, get what
// there is.
Way WayToPlug(const Scene& scene, const std::string& field);

}  // namespace rum

#endif  // RUM_CONTROLLER_ASPECTS_PLUG_PORTS_H_
