/* SPDX-License-Identifier: ISC */
/* How many requests one address, user or repository may have served at once. Only those that have a
 * place are looked at, and there are no more of these than node.requests. */
#include "base/bytes.h"
#include "node/internal.h"

void bole_node_caps_name(struct node_connection *c, const char *user, const char *name)
{
	const struct node_rates *rates = c->node->rates;

	c->keys[NODE_RATE_ADDRESS] =
	        bole_node_rates_key(rates, NODE_RATE_ADDRESS, bole_node_address(c));
	c->keys[NODE_RATE_USER] =
	        user == NULL ? 0 : bole_node_rates_key(rates, NODE_RATE_USER, bole_bytes_z(user));
	c->keys[NODE_RATE_REPOSITORY] =
	        bole_node_rates_key(rates, NODE_RATE_REPOSITORY, bole_bytes_z(name));
}

bool bole_node_caps_any(const struct bole_node *node)
{
	bool any = false;

	for (size_t i = 0; i < NODE_CAPS; i++)
		any |= node->options.at_once[i] > 0;
	return any;
}

bool bole_node_caps_reached(const struct node_connection *c)
{
	const uint64_t *most = c->node->options.at_once;
	uint64_t count[NODE_CAPS] = {0};

	if (!bole_node_caps_any(c->node))
		return false;
	for (const struct node_connection *other = c->node->placed; other != NULL;
	     other = other->next_placed)
		for (size_t i = 0; i < NODE_CAPS; i++)
			count[i] += c->keys[i] != 0 && other->keys[i] == c->keys[i];
	for (size_t i = 0; i < NODE_CAPS; i++)
		if (most[i] > 0 && count[i] >= most[i])
			return true;
	return false;
}

void bole_node_caps_enter(struct node_connection *c)
{
	c->next_placed = c->node->placed;
	c->prev_placed = NULL;
	if (c->next_placed != NULL)
		c->next_placed->prev_placed = c;
	c->node->placed = c;
}

void bole_node_caps_leave(struct node_connection *c)
{
	if (c->prev_placed == NULL)
		c->node->placed = c->next_placed;
	else
		c->prev_placed->next_placed = c->next_placed;
	if (c->next_placed != NULL)
		c->next_placed->prev_placed = c->prev_placed;
}
