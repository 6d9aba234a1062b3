package protocol

// Action names a frame: what happened, or what is asked for. Frames with
// actions that are not listed here pass from the backend to a room untouched;
// from clients they have no effect.
type Action string

// ActionUnknown is the action of a client frame that none of the others is.
const ActionUnknown Action = ""

// What every client sends.
const (
	ActionPing           Action = "ping"
	ActionExitRoomReport Action = "exit_room_report"
	ActionHangUpReport   Action = "hang_up_report"
	ActionSync           Action = "sync"

	// Receipts, accepted in silence.
	ActionEnterRoomReport    Action = "enter_room_report"
	ActionSendTopicMsgReport Action = "send_topic_msg_report"
	ActionSendGiftReport     Action = "send_gift_report"
	ActionUpReport           Action = "up_report"
	// ActionUpDeport is how some clients spell ActionUpReport, as which it is
	// read.
	ActionUpDeport                Action = "up_deport"
	ActionDownReport              Action = "down_report"
	ActionRoomChannelStatusReport Action = "room_channel_status_report"
	ActionRoomSignalStatusReport  Action = "room_signal_status_report"
)

// What the server alone tells.
const (
	ActionCreateToken Action = "create_token"
	ActionDrain       Action = "drain"
	ActionError       Action = "error"
	ActionSynced      Action = "synced"
	ActionResync      Action = "resync"
	ActionEntered     Action = "entered"
	ActionPresence    Action = "presence"
)

// What the server tells, and a client whose sid allows it may send.
const (
	ActionEnterRoom    Action = "enter_room"
	ActionExitRoom     Action = "exit_room"
	ActionUp           Action = "up"
	ActionDown         Action = "down"
	ActionSendTopicMsg Action = "send_topic_msg"
	ActionSendGift     Action = "send_gift"
	ActionHangUp       Action = "hang_up"
	// ActionCall is sent by clients only.
	ActionCall Action = "call"
)

// clientAction returns the action that a client's frame names. It allocates
// nothing, whatever the name.
func clientAction(name []byte) Action {
	switch string(name) {
	case string(ActionPing):
		return ActionPing
	case string(ActionExitRoomReport):
		return ActionExitRoomReport
	case string(ActionHangUpReport):
		return ActionHangUpReport
	case string(ActionSync):
		return ActionSync
	case string(ActionEnterRoomReport):
		return ActionEnterRoomReport
	case string(ActionSendTopicMsgReport):
		return ActionSendTopicMsgReport
	case string(ActionSendGiftReport):
		return ActionSendGiftReport
	case string(ActionUpReport), string(ActionUpDeport):
		return ActionUpReport
	case string(ActionDownReport):
		return ActionDownReport
	case string(ActionRoomChannelStatusReport):
		return ActionRoomChannelStatusReport
	case string(ActionRoomSignalStatusReport):
		return ActionRoomSignalStatusReport
	case string(ActionEnterRoom):
		return ActionEnterRoom
	case string(ActionExitRoom):
		return ActionExitRoom
	case string(ActionUp):
		return ActionUp
	case string(ActionDown):
		return ActionDown
	case string(ActionSendTopicMsg):
		return ActionSendTopicMsg
	case string(ActionSendGift):
		return ActionSendGift
	case string(ActionHangUp):
		return ActionHangUp
	case string(ActionCall):
		return ActionCall
	default:
		return ActionUnknown
	}
}

// Receipt reports whether a client's frame of this action asks for nothing and
// says nothing that the server acts on.
func (a Action) Receipt() bool {
	switch a {
	case ActionEnterRoomReport, ActionSendTopicMsgReport, ActionSendGiftReport, ActionUpReport, ActionUpDeport,
		ActionDownReport, ActionRoomChannelStatusReport, ActionRoomSignalStatusReport:
		return true
	default:
		return false
	}
}

// Privileged reports whether only a client whose sid allows it may send this
// action.
func (a Action) Privileged() bool {
	switch a {
	case ActionEnterRoom, ActionExitRoom, ActionUp, ActionDown, ActionSendTopicMsg, ActionSendGift, ActionHangUp, ActionCall:
		return true
	default:
		return false
	}
}
