/* SPDX-License-Identifier: MIT */
#include "fake_chardev.h"

#include <string.h>

void chardev_set_client(struct chardev *c, const struct chardev_client *client,
			void *opaque)
{
	c->client = client;
	c->opaque = opaque;
}

size_t chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	pthread_mutex_lock(&c->lock);
	c->writes++;
	if (len > c->longest_write)
		c->longest_write = len;
	if (len > c->room)
		len = c->room;
	memcpy(c->output + c->out_len, data, len);
	c->out_len += len;
	c->room -= len;
	pthread_mutex_unlock(&c->lock);
	return len;
}

size_t chardev_read(struct chardev *c, uint8_t *data, size_t len)
{
	pthread_mutex_lock(&c->lock);
	if (len > c->in_len - c->in_pos)
		len = c->in_len - c->in_pos;
	memcpy(data, c->input + c->in_pos, len);
	c->in_pos += len;
	pthread_mutex_unlock(&c->lock);
	return len;
}

void chardev_size(struct chardev *c, uint16_t *columns, uint16_t *rows)
{
	*columns = c->columns;
	*rows = c->rows;
}

bool chardev_is_open(struct chardev *c)
{
	bool open;

	pthread_mutex_lock(&c->lock);
	open = c->open;
	pthread_mutex_unlock(&c->lock);
	return open;
}

void chardev_set_lossless(struct chardev *c, bool on)
{
	c->lossless = on;
}

void fake_chardev_init(struct chardev *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->room = sizeof(c->output);
}

void fake_chardev_type(struct chardev *c, const void *text, size_t len)
{
	pthread_mutex_lock(&c->lock);
	memcpy(c->input + c->in_len, text, len);
	c->in_len += len;
	pthread_mutex_unlock(&c->lock);
	c->client->input_ready(c->opaque);
}

void fake_chardev_set_room(struct chardev *c, size_t room)
{
	pthread_mutex_lock(&c->lock);
	c->room = room;
	pthread_mutex_unlock(&c->lock);
	c->client->output_ready(c->opaque);
}

void fake_chardev_set_open(struct chardev *c, bool on)
{
	pthread_mutex_lock(&c->lock);
	c->open = on;
	pthread_mutex_unlock(&c->lock);
	c->client->connected(c->opaque, on);
}

size_t fake_chardev_written(struct chardev *c)
{
	size_t len;

	pthread_mutex_lock(&c->lock);
	len = c->out_len;
	pthread_mutex_unlock(&c->lock);
	return len;
}
