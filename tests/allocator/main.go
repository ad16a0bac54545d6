// The allocator is Kubernetes' own, as the scheduler runs it, without a cluster: it reads slices, classes and claims from
// the standard input, and writes which devices a claim gets. The tests of the driver's device model judge by it.
//
// Each line of input is a request in JSON, and each line of output is the answer to it. `request` has the operations.
// It builds with the modules of three versions of Kubernetes: `go build -modfile go-0.34.mod` and so on.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	resource "k8s.io/api/resource/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/dynamic-resource-allocation/structured"
)

// timeout is the limit of the scheduler for one node, after which the pod is stopped on all nodes.
const timeout = 10 * time.Second

// gates are the features that the scheduler has on by default, by the version of the module.
var gates = map[string][]string{
	"v0.34": {"AdminAccess", "PrioritizedList"},
	"v0.36": {"AdminAccess", "PrioritizedList", "PartitionableDevices", "ConsumableCapacity", "DeviceTaints",
		"DeviceBindingAndStatus"},
	"v0.37": {"AdminAccess", "PrioritizedList", "PartitionableDevices", "ConsumableCapacity", "DeviceTaints",
		"DeviceBindingAndStatus", "FractionalCapacityRange"},
}

// request is a line of input. Op says which of the other fields it has.
type request struct {
	// slices and classes replace all slices and all classes; reset removes both, and all claims.
	// allocate tries a claim on a node, and remembers the claim by its UID if it gets devices; free forgets a claim.
	// evaluate evaluates a CEL expression on each device of a driver.
	Op         string                    `json:"op"`
	Slices     []*resource.ResourceSlice `json:"slices"`
	Classes    []*resource.DeviceClass   `json:"classes"`
	Claim      *resource.ResourceClaim   `json:"claim"`
	Node       string                    `json:"node"`
	UID        types.UID                 `json:"uid"`
	Expression string                    `json:"expression"`
	Driver     string                    `json:"driver"`
}

// answer is a line of output: the fields that the operation fills.
type answer struct {
	Error string `json:"error,omitempty"`
	// Refused is true if the claim does not fit on the node.
	Refused bool                                     `json:"refused,omitempty"`
	Devices []resource.DeviceRequestAllocationResult `json:"devices,omitempty"`
	// Micros is how long the attempt took, in microseconds.
	Micros    int64    `json:"micros,omitempty"`
	Evaluated int      `json:"evaluated,omitempty"`
	Errors    []string `json:"errors,omitempty"`
}

// cluster is what the scheduler sees of a cluster.
type cluster struct {
	features structured.Features
	cache    *cel.Cache
	slices   []*resource.ResourceSlice
	classes  map[string]*resource.DeviceClass
	// allocated are the results of the claims by UID.
	allocated map[types.UID][]resource.DeviceRequestAllocationResult
}

func main() {
	features, err := defaultFeatures()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The cache lives as long as the scheduler.
	cache := cel.NewCache(128, cel.Features{EnableConsumableCapacity: features.ConsumableCapacity})
	state := &cluster{features: features, cache: cache}
	state.reset()
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := json.NewEncoder(os.Stdout)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		if err := output.Encode(state.answer(line)); err != nil {
			return
		}
	}
}

// defaultFeatures returns the features of the version that this program was built with.
func defaultFeatures() (structured.Features, error) {
	var features structured.Features
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path != "k8s.io/dynamic-resource-allocation" {
			continue
		}
		on, known := gates[module.Version[:strings.LastIndex(module.Version, ".")]]
		if !known {
			return features, fmt.Errorf("the default features of Kubernetes module version %s are not listed", module.Version)
		}
		// By name, because the fields differ between versions.
		for _, name := range on {
			reflect.ValueOf(&features).Elem().FieldByName(name).SetBool(true)
		}
		return features, nil
	}
	return features, errors.New("built without k8s.io/dynamic-resource-allocation")
}

func (c *cluster) reset() {
	c.slices = nil
	c.classes = map[string]*resource.DeviceClass{}
	c.allocated = map[types.UID][]resource.DeviceRequestAllocationResult{}
}

func (c *cluster) answer(line []byte) answer {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return answer{Error: fmt.Sprintf("expected a request in JSON: %v", err)}
	}
	switch r.Op {
	case "reset":
		c.reset()
	case "slices":
		c.slices = r.Slices
	case "classes":
		c.classes = map[string]*resource.DeviceClass{}
		for _, class := range r.Classes {
			c.classes[class.Name] = class
		}
	case "allocate":
		return c.allocate(r.Claim, r.Node)
	case "free":
		if _, known := c.allocated[r.UID]; !known {
			return answer{Error: fmt.Sprintf("no claim has UID %q", r.UID)}
		}
		delete(c.allocated, r.UID)
	case "evaluate":
		return c.evaluate(r.Expression, r.Driver)
	default:
		return answer{Error: fmt.Sprintf("unknown operation %q", r.Op)}
	}
	return answer{}
}

// allocate makes the attempt that the scheduler makes for one node.
func (c *cluster) allocate(claim *resource.ResourceClaim, name string) answer {
	setDefaults(claim)
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name}}
	results, err := func() ([]resource.AllocationResult, error) {
		allocator, err := structured.NewAllocator(ctx, c.features, c.state(), c, c.slices, c.cache)
		if err != nil {
			return nil, err
		}
		return allocator.Allocate(ctx, node, []*resource.ResourceClaim{claim})
	}()
	reply := answer{Micros: time.Since(start).Microseconds()}
	switch {
	case err != nil:
		reply.Error = err.Error()
	case len(results) == 0:
		reply.Refused = true
	default:
		reply.Devices = results[0].Devices.Results
		c.allocated[claim.UID] = reply.Devices
	}
	return reply
}

// setDefaults does what the API server does to a claim.
func setDefaults(claim *resource.ResourceClaim) {
	set := func(mode *resource.DeviceAllocationMode, count *int64) {
		if *mode == "" {
			*mode = resource.DeviceAllocationModeExactCount
		}
		if *mode == resource.DeviceAllocationModeExactCount && *count == 0 {
			*count = 1
		}
	}
	for i := range claim.Spec.Devices.Requests {
		request := &claim.Spec.Devices.Requests[i]
		if exactly := request.Exactly; exactly != nil {
			set(&exactly.AllocationMode, &exactly.Count)
		}
		for j := range request.FirstAvailable {
			set(&request.FirstAvailable[j].AllocationMode, &request.FirstAvailable[j].Count)
		}
	}
}

// state gathers what claims have, as the scheduler gathers it from their status.
func (c *cluster) state() structured.AllocatedState {
	state := structured.AllocatedState{
		AllocatedDevices:         sets.New[structured.DeviceID](),
		AllocatedSharedDeviceIDs: sets.New[structured.SharedDeviceID](),
		AggregatedCapacity:       structured.NewConsumedCapacityCollection(),
	}
	for _, results := range c.allocated {
		for _, result := range results {
			if result.AdminAccess != nil && *result.AdminAccess {
				continue
			}
			id := structured.MakeDeviceID(result.Driver, result.Pool, result.Device)
			if result.ShareID == nil {
				state.AllocatedDevices.Insert(id)
				continue
			}
			state.AllocatedSharedDeviceIDs.Insert(structured.MakeSharedDeviceID(id, result.ShareID))
			state.AggregatedCapacity.Insert(structured.NewDeviceConsumedCapacity(id, result.ConsumedCapacity))
		}
	}
	return state
}

// evaluate evaluates an expression as a selector of a device.
func (c *cluster) evaluate(expression, driver string) answer {
	compiled := c.cache.GetOrCompile(expression)
	if compiled.Error != nil {
		return answer{Error: compiled.Error.Error()}
	}
	var reply answer
	for _, slice := range c.slices {
		if slice.Spec.Driver != driver {
			continue
		}
		for _, device := range slice.Spec.Devices {
			reply.Evaluated++
			_, _, err := compiled.DeviceMatches(context.Background(), cel.Device{
				Driver:                   driver,
				AllowMultipleAllocations: device.AllowMultipleAllocations,
				Attributes:               device.Attributes,
				Capacity:                 device.Capacity,
			})
			if err != nil {
				reply.Errors = append(reply.Errors, fmt.Sprintf("%s/%s: %v", slice.Spec.Pool.Name, device.Name, err))
			}
		}
	}
	return reply
}

// Get and List make the classes readable for the allocator.
func (c *cluster) Get(name string) (*resource.DeviceClass, error) {
	if class, known := c.classes[name]; known {
		return class, nil
	}
	return nil, fmt.Errorf("device class %s does not exist", name)
}

func (c *cluster) List() ([]*resource.DeviceClass, error) {
	var names []string
	for name := range c.classes {
		names = append(names, name)
	}
	slices.Sort(names)
	var classes []*resource.DeviceClass
	for _, name := range names {
		classes = append(classes, c.classes[name])
	}
	return classes, nil
}
